"""The onnx_model artifact as a client opens it: card, model file and session, checked against each other. No torch.

    card.json  model.onnx  golden/  golden.json  lineage/  variants/<precision>.onnx

The file's own metadata repeats classes, input, preprocessing, temperature, threshold and provenance as JSON, so that a
model that travels alone can still be used. Weights over 2 GiB lie in model.onnx.data beside it. N images, H height, W
width, C classes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import ValidationError

from components.interchange.artifact import file_digest
from components.interchange.cards import InputLayout, OnnxCard, read_onnx_card
from components.interchange.errors import BadInput
from components.interchange.onnx_errors import meaning, own_words
from components.interchange.preprocessing import Preprocessing
from components.interchange.providers import CPU_PROVIDER, check_provider, own_options

MODEL_FILE = "model.onnx"
INPUT_NAME = "pixels"
OUTPUT_NAME = "logits"
FLOAT_TYPE, BYTES_TYPE = "tensor(float)", "tensor(uint8)"
# What a file means that was written before it could say so.
BEFORE_IT_EXISTED = {"temperature": "1.0", "threshold": "null", "input": '"uint8-nhwc"'}


def metadata_of(card: OnnxCard) -> dict[str, str]:
    """What a model file's metadata must say: each value is canonical JSON."""
    content = {
        "classes": card.classes,
        "input": card.input,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "temperature": card.temperature,
        "threshold": None if card.threshold is None else card.threshold.model_dump(mode="json"),
        "provenance": {
            "backbone": card.backbone,
            "weights": card.weights.model_dump(mode="json"),
            "classifier_digest": card.classifier_digest,
            "dataset_digest": card.dataset_digest,
        },
    }
    return {key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in content.items()}


def variant_file(precision: str) -> str:
    """Where in the artifact a model of another precision than model.onnx lies."""
    return f"variants/{precision}.onnx"


def open_model(
    folder: Path,
    providers: Sequence[Any] = (CPU_PROVIDER,),
    options: Any = None,
    file: str = MODEL_FILE,
    hashed: bool = True,
) -> tuple[Any, OnnxCard]:
    """An onnxruntime session of one of an onnx_model's files, and the artifact's card.

    `providers` are onnxruntime's own (names, or pairs with options), so are `options`. BadInput when the file is
    missing, cannot be loaded, says something else than the card, or (where it is `hashed`) has not the bytes that were
    exported, and when onnxruntime replaced the first provider by another: it does so with a warning alone.
    """
    card = read_onnx_card(folder)
    path = folder / file
    if not path.is_file():
        raise BadInput(f"{folder} has no {file}. Was the onnx_model copied whole?")
    try:
        session = ort.InferenceSession(str(path), options or own_options(), providers=list(providers))
    except Exception as error:  # onnxruntime raises a class of its own for every status code.
        if "ShapeInferenceError" in str(error):
            raise BadInput(
                f"{path} was altered after its export: its input, weights and operators do not fit each other. Its "
                f"card says that it takes {_wanted_input(card)}. Export it again. (onnxruntime: {own_words(error)})"
            ) from None
        raise BadInput(f"{path} cannot be loaded by onnxruntime {ort.__version__}: {meaning(error)}") from None
    problems = _contradictions(session, card)
    if hashed and not problems:
        problems = _other_bytes(folder, file, card)
    if problems:
        raise BadInput(
            f"{path} contradicts its card: {'; '.join(problems)}. The file or the card was altered; export it again."
        )
    first = providers[0]
    check_provider(session, first if isinstance(first, str) else first[0])
    return session, card


def _contradictions(session: Any, card: OnnxCard) -> list[str]:
    expected = {
        "input": (_interface(session.get_inputs()), _wanted_input(card)),
        "output": (_interface(session.get_outputs()), _tensor(OUTPUT_NAME, FLOAT_TYPE, ["N", len(card.classes)])),
    }
    problems = [
        f"{what} is {found}, expected {wanted}" for what, (found, wanted) in expected.items() if found != wanted
    ]
    found_metadata = BEFORE_IT_EXISTED | session.get_modelmeta().custom_metadata_map
    for key, text in metadata_of(card).items():
        if key not in found_metadata:
            problems.append(f"its metadata lack {key!r}")
        elif not _same(key, found_metadata[key], text):
            problems.append(f"its metadata's {key!r} is {found_metadata[key]}, the card says {text}")
    return problems


def _wanted_input(card: OnnxCard) -> str:
    size = card.preprocessing.crop_px
    if card.input == "float32-nchw":
        return _tensor(INPUT_NAME, FLOAT_TYPE, ["N", 3, size, size])
    return _tensor(INPUT_NAME, BYTES_TYPE, ["N", size, size, 3])


def sha256_of(folder: Path, file: str) -> dict[str, str]:
    """sha256 by place of a model file, and of the weights that lie beside it."""
    return {place: file_digest(folder / place) for place in (file, data_file(file)) if (folder / place).is_file()}


def data_file(file: str) -> str:
    """Where the weights of a model file of over 2 GiB lie: beside it."""
    return f"{file}.data"


def _other_bytes(folder: Path, file: str, card: OnnxCard) -> list[str]:
    """Files whose bytes are not those that were exported. The card of an older model does not know them."""
    found = sha256_of(folder, file)
    expected = {place: card.sha256[place] for place in (file, data_file(file)) if place in card.sha256}
    return [
        f"the sha256 of {place} is {found.get(place)}, expected {sha256}"
        for place, sha256 in expected.items()
        if found.get(place) != sha256
    ]


def _same(key: str, found: str, wanted: str) -> bool:
    """Equal text, or a preprocessing of the same meaning: an older file does not name what had one value already."""
    if found == wanted or key != "preprocessing":
        return found == wanted
    try:
        return Preprocessing.model_validate_json(found) == Preprocessing.model_validate_json(wanted)
    except ValidationError:
        return False


def _interface(values: Sequence[Any]) -> str:
    """Inputs or outputs as `pixels: tensor(uint8) [N, 224, 224, 3]`; a dynamic axis, whatever its name, is N."""
    shapes = [[axis if isinstance(axis, int) else "N" for axis in value.shape] for value in values]
    return ", ".join(_tensor(value.name, value.type, shape) for value, shape in zip(values, shapes, strict=True))


def _tensor(name: str, kind: str, shape: Sequence[int | str]) -> str:
    return f"{name}: {kind} [{', '.join(map(str, shape))}]"


def as_input(pixels_NHWC: NDArray[np.uint8], layout: InputLayout) -> NDArray[Any]:
    """uint8 RGB pixels [N, H, W, 3] as a model of this layout takes them.

    `float32-nchw` is [N, 3, H, W] on [0, 1], not normalised: that is inside every model.
    """
    if layout == "uint8-nhwc":
        return pixels_NHWC
    return np.ascontiguousarray(pixels_NHWC.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def layout_of(session: Any) -> InputLayout:
    """What a session of a checked model takes."""
    return "float32-nchw" if session.get_inputs()[0].type == FLOAT_TYPE else "uint8-nhwc"


def logits_of(session: Any, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits [N, C] of uint8 RGB pixels [N, H, W, 3], whatever the model's own input is."""
    return answer(session, as_input(pixels_NHWC, layout_of(session)))


def answer(session: Any, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Logits [N, C] of a batch in the model's own layout."""
    found: NDArray[np.float32] = session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0]
    return found
