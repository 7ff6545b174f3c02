"""Is the file a valid ONNX model, and does it say what it should? Every contradiction is listed at once."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from components.export_onnx.export import opset_of
from components.interchange.onnx_model import CPU_PROVIDER, INPUT_NAME, OUTPUT_NAME

BATCHES = (1, 2, 7)


class InvalidModel(Exception):
    """The model file is not valid, or says something else than it should."""


def check(path: Path, opset: int, crop_px: int, num_classes: int, metadata: dict[str, str]) -> None:
    """onnx.checker with full check, strict shape inference, opset, interface, metadata, and a run at every batch size.

    Raises InvalidModel, with everything that is wrong.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # Protobuf, the checker and shape inference each have errors of their own.
        raise InvalidModel(f"{path.name} is no valid ONNX model: {error}") from error
    problems = contradictions(inferred, opset, crop_px, num_classes, metadata)
    if not problems:
        problems = _failed_runs(path, crop_px, num_classes)
    if problems:
        raise InvalidModel(f"{path.name}: {'; '.join(problems)}.")


def contradictions(
    model: onnx.ModelProto, opset: int, crop_px: int, num_classes: int, metadata: dict[str, str]
) -> list[str]:
    """What the model says that it should not, in words."""
    pixels, logits = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    size = crop_px
    compared = {
        "opset": (opset_of(model), opset),
        "operator domains": ([o.domain for o in model.opset_import if o.domain not in ("", "ai.onnx")], []),
        "inputs": (_interface(model.graph.input), [(INPUT_NAME, pixels, ["dynamic", size, size, 3])]),
        "outputs": (_interface(model.graph.output), [(OUTPUT_NAME, logits, ["dynamic", num_classes])]),
        "metadata": ({prop.key: prop.value for prop in model.metadata_props}, metadata),
    }
    return [
        f"{what}: found {found}, expected {wanted}" for what, (found, wanted) in compared.items() if found != wanted
    ]


def _interface(values: Iterable[onnx.ValueInfoProto]) -> list[tuple[str, int, list[int | str]]]:
    found = []
    for value in values:
        tensor = value.type.tensor_type
        axes = [axis.dim_value if axis.HasField("dim_value") else "dynamic" for axis in tensor.shape.dim]
        found.append((value.name, tensor.elem_type, axes))
    return found


def _failed_runs(path: Path, crop_px: int, num_classes: int) -> list[str]:
    session = ort.InferenceSession(str(path), providers=[CPU_PROVIDER])
    problems = []
    for batch in BATCHES:
        logits_NC = session.run([OUTPUT_NAME], {INPUT_NAME: np.zeros((batch, crop_px, crop_px, 3), np.uint8)})[0]
        if logits_NC.shape != (batch, num_classes):
            problems.append(f"logits of a batch of {batch} have shape {logits_NC.shape}")
    return problems
