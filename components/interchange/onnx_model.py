"""The onnx_model artifact as a client opens it: card, model file and session, checked against each other. No torch.

    card.json  model.onnx  golden/  golden.json  lineage/

The file's own metadata repeats classes, preprocessing, temperature and provenance as JSON, so that a model that travels
alone can still be used. N images, H height, W width, C classes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from components.interchange.cards import OnnxCard, read_onnx_card
from components.interchange.errors import BadInput

MODEL_FILE = "model.onnx"
INPUT_NAME = "pixels"
OUTPUT_NAME = "logits"
CPU_PROVIDER = "CPUExecutionProvider"
BEFORE_IT_EXISTED = {"temperature": "1.0"}  # What a file means that was written before it could say so.


def metadata_of(card: OnnxCard) -> dict[str, str]:
    """What a model file's metadata must say: each value is canonical JSON."""
    content = {
        "classes": card.classes,
        "preprocessing": card.preprocessing.model_dump(mode="json"),
        "temperature": card.temperature,
        "provenance": {
            "backbone": card.backbone,
            "weights": card.weights.model_dump(mode="json"),
            "classifier_digest": card.classifier_digest,
            "dataset_digest": card.dataset_digest,
        },
    }
    return {key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in content.items()}


def open_model(folder: Path, providers: Sequence[str] = (CPU_PROVIDER,), options: Any = None) -> tuple[Any, OnnxCard]:
    """An onnxruntime session and the card of an onnx_model artifact.

    `options` are onnxruntime's SessionOptions. BadInput when the file is missing, cannot be loaded, or says something
    else than its card.
    """
    card = read_onnx_card(folder)
    path = folder / MODEL_FILE
    if not path.is_file():
        raise BadInput(f"{folder} has no {MODEL_FILE}. Was the onnx_model copied whole?")
    try:
        session = ort.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime raises a class of its own for every status code.
        raise BadInput(
            f"{path} cannot be loaded by onnxruntime {ort.__version__} ({_first_line(error)}). "
            "Was it copied whole? Otherwise export it again."
        ) from None
    problems = _contradictions(session, card)
    if problems:
        raise BadInput(
            f"{path} contradicts its card: {'; '.join(problems)}. The file or the card was altered; export it again."
        )
    return session, card


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _contradictions(session: Any, card: OnnxCard) -> list[str]:
    size, num_classes = card.preprocessing.crop_px, len(card.classes)
    expected: dict[str, tuple[Any, Any]] = {
        "input": (_interface(session.get_inputs()), [(INPUT_NAME, "tensor(uint8)", [None, size, size, 3])]),
        "output": (_interface(session.get_outputs()), [(OUTPUT_NAME, "tensor(float)", [None, num_classes])]),
    }
    problems = [
        f"{what} is {found}, expected {wanted}" for what, (found, wanted) in expected.items() if found != wanted
    ]
    found_metadata = BEFORE_IT_EXISTED | session.get_modelmeta().custom_metadata_map
    for key, text in metadata_of(card).items():
        if key not in found_metadata:
            problems.append(f"its metadata lack {key!r}")
        elif found_metadata[key] != text:
            problems.append(f"its metadata's {key!r} is {found_metadata[key]}, the card says {text}")
    return problems


def _interface(values: Sequence[Any]) -> list[tuple[str, str, list[int | None]]]:
    """Name, type and shape of inputs or outputs; a dynamic axis is None."""
    return [(v.name, v.type, [axis if isinstance(axis, int) else None for axis in v.shape]) for v in values]


def logits_of(session: Any, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits [N, C] of uint8 RGB pixels [N, H, W, 3]."""
    found: NDArray[np.float32] = session.run([OUTPUT_NAME], {INPUT_NAME: pixels_NHWC})[0]
    return found
