"""Is the file a valid ONNX model, and does it say what it should? Every contradiction is listed at once."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort

from components.export_onnx.export import opset_of
from components.export_onnx.files import load_graph
from components.interchange.cards import InputLayout, OnnxCard
from components.interchange.onnx_model import INPUT_NAME, OUTPUT_NAME, answer, as_input, metadata_of
from components.interchange.providers import CPU_PROVIDER


class InvalidModel(Exception):
    """The model file is not valid, or says something else than it should."""


class Wanted(NamedTuple):
    """What a file must say."""

    opset: int
    layout: InputLayout
    crop_px: int
    num_classes: int
    metadata: dict[str, str]

    @classmethod
    def by(cls, card: OnnxCard) -> "Wanted":
        """What a model's card says."""
        return cls(card.opset, card.input, card.preprocessing.crop_px, len(card.classes), metadata_of(card))


def check(path: Path, wanted: Wanted, batches: Sequence[int]) -> None:
    """onnx.checker with full check, strict shape inference, opset, interface, metadata, and a run at every batch size.

    Raises InvalidModel, with everything that is wrong.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)  # By path: a model of over 2 GiB cannot be handed over.
        inferred = onnx.shape_inference.infer_shapes(load_graph(path), check_type=True, strict_mode=True)
    except Exception as error:  # Protobuf, the checker and shape inference each have errors of their own.
        raise InvalidModel(f"{path.name} is no valid ONNX model: {error}") from error
    problems = _contradictions(inferred, wanted) or _failed_runs(path, wanted, batches)
    if problems:
        raise InvalidModel(f"{path.name}: {'; '.join(problems)}.")


def _contradictions(model: onnx.ModelProto, wanted: Wanted) -> list[str]:
    """What the model says that it should not, in words."""
    opset, layout, crop_px, num_classes, metadata = wanted
    bytes_NHWC = (onnx.TensorProto.UINT8, ["dynamic", crop_px, crop_px, 3])
    floats_NCHW = (onnx.TensorProto.FLOAT, ["dynamic", 3, crop_px, crop_px])
    given = bytes_NHWC if layout == "uint8-nhwc" else floats_NCHW
    compared = {
        "opset": (opset_of(model), opset),
        "operator domains": ([o.domain for o in model.opset_import if o.domain not in ("", "ai.onnx")], []),
        "inputs": (_interface(model.graph.input), [(INPUT_NAME, *given)]),
        "outputs": (
            _interface(model.graph.output),
            [(OUTPUT_NAME, onnx.TensorProto.FLOAT, ["dynamic", num_classes])],
        ),
        "metadata": ({prop.key: prop.value for prop in model.metadata_props}, metadata),
    }
    return [f"{what}: found {found}, expected {right}" for what, (found, right) in compared.items() if found != right]


def _interface(values: Iterable[onnx.ValueInfoProto]) -> list[tuple[str, int, list[int | str]]]:
    found = []
    for value in values:
        tensor = value.type.tensor_type
        axes = [axis.dim_value if axis.HasField("dim_value") else "dynamic" for axis in tensor.shape.dim]
        found.append((value.name, tensor.elem_type, axes))
    return found


def _failed_runs(path: Path, wanted: Wanted, batches: Sequence[int]) -> list[str]:
    problems = []
    try:
        session = ort.InferenceSession(str(path), providers=[CPU_PROVIDER])
        for batch in batches:
            pixels_NHWC = np.zeros((batch, wanted.crop_px, wanted.crop_px, 3), np.uint8)
            shape = answer(session, as_input(pixels_NHWC, wanted.layout)).shape
            if shape != (batch, wanted.num_classes):
                problems.append(f"logits of a batch of {batch} have shape {shape}")
    except Exception as error:  # onnxruntime raises a class of its own for every status code.
        problems.append(f"onnxruntime {ort.__version__} cannot run it: {error}")
    return problems
