"""Cards of the classifier and onnx_model artifacts, readable where torch is not installed."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.interchange.artifact import read_card_as
from components.interchange.preprocessing import Preprocessing

InputLayout = Literal["uint8-nhwc", "float32-nchw"]
Precision = Literal["fp32", "fp16", "int8"]
# Logits are divided by it before softmax. Artifacts that say nothing of it were made before it existed: 1.
Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Threshold(BaseModel):
    """From this confidence on an answer is right with this probability, by val: below it, ask a person.

    `confidence` is of softmax(logits / temperature).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(ge=0, le=1)
    precision: float = Field(gt=0, lt=1)


class Weights(BaseModel):
    """Where pretrained weights came from: `hub` with timm's id, `package` or `file` with the name; sha256 and licence.

    The sha256 is the file's; for weights that came from the hub right into memory, that of the state dict.
    """

    model_config = ConfigDict(frozen=True)

    origin: str
    sha256: str
    license: str | None = None


class ClassifierCard(BaseModel):
    """card.json of a classifier. `history` holds one record an epoch (finetune) or a tried l2 (feature_extraction).

    What evaluate selects has its fitted `temperature` and `threshold`, and in `uncalibrated_digest` the classifier that
    they were fitted to; what the training steps write has 1 and None.
    """

    model_config = ConfigDict(extra="ignore")

    format: str = ""
    backbone: str
    classes: list[str]
    preprocessing: Preprocessing
    weights: Weights
    dataset_digest: str
    made_by: str
    spec: dict[str, Any]
    history: list[dict[str, Any]] = []
    temperature: Temperature = 1.0
    threshold: Threshold | None = None
    uncalibrated_digest: str | None = None


class Variant(BaseModel):
    """The same model in another precision, in a file beside model.onnx that latency compares."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    precision: Precision
    file: str
    eligible: bool
    ineligible_because: list[str] = []


class OnnxCard(BaseModel):
    """card.json of an onnx_model. `eligible` is False when the file must not be promoted, for `ineligible_because`.

    `input` says what clients feed: raw pixels, or floats on [0, 1] that are not normalised either.
    The file's logits are raw: probabilities are softmax(logits / temperature). `classifier_digest` is of the classifier
    as it was trained, before evaluate added the temperature. `sha256` is of every model file by its place in the
    artifact, with weights that lie beside one; models from before it was written down have none.
    """

    model_config = ConfigDict(extra="ignore")

    format: str = ""
    classes: list[str]
    input: InputLayout = "uint8-nhwc"
    preprocessing: Preprocessing
    opset: int
    precision: Precision
    eligible: bool
    ineligible_because: list[str] = []
    classifier_digest: str
    dataset_digest: str
    backbone: str
    weights: Weights
    spec: dict[str, Any]
    temperature: Temperature = 1.0
    threshold: Threshold | None = None
    variants: list[Variant] = []
    sha256: dict[str, str] = {}


def read_classifier_card(folder: Path) -> ClassifierCard:
    """Card of a classifier artifact; BadInput when it is missing, damaged or of a newer format."""
    return read_card_as(ClassifierCard, folder, "classifier")


def read_onnx_card(folder: Path) -> OnnxCard:
    """Card of an onnx_model artifact; BadInput when it is missing, damaged or of a newer format."""
    return read_card_as(OnnxCard, folder, "onnx_model")
