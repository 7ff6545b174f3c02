"""Cards of the classifier and onnx_model artifacts, readable where torch is not installed."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from components.interchange.artifact import read_card
from components.interchange.preprocessing import Preprocessing


class Weights(BaseModel):
    """Where pretrained weights came from: `hub` with timm's id, `package` or `file` with the name, and their sha256."""

    model_config = ConfigDict(frozen=True)

    origin: str
    sha256: str


class ClassifierCard(BaseModel):
    """card.json of a classifier. `history` holds one record an epoch (finetune) or a tried l2 (feature_extraction)."""

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


class OnnxCard(BaseModel):
    """card.json of an onnx_model. `eligible` is False when the file must not be promoted, for `ineligible_because`."""

    model_config = ConfigDict(extra="ignore")

    format: str = ""
    classes: list[str]
    preprocessing: Preprocessing
    opset: int
    precision: str
    eligible: bool
    ineligible_because: list[str] = []
    classifier_digest: str
    dataset_digest: str
    backbone: str
    weights: Weights
    spec: dict[str, Any]


def read_classifier_card(folder: Path) -> ClassifierCard:
    """Card of a classifier artifact; BadInput when it is missing, damaged or of a newer format."""
    return ClassifierCard.model_validate(read_card(folder, "classifier"))


def read_onnx_card(folder: Path) -> OnnxCard:
    """Card of an onnx_model artifact; BadInput when it is missing, damaged or of a newer format."""
    return OnnxCard.model_validate(read_card(folder, "onnx_model"))
