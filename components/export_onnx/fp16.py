"""Half precision: onnxruntime's converter, and a scan for numbers that half precision cannot hold.

A CPU computes most of an fp16 file in fp32, so overflow does not show there; it does on a GPU. The scan looks at the
fp32 model's own numbers on real images. N images.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from components.export_onnx.files import load_graph, save
from components.export_onnx.settings import options_at
from components.interchange.onnx_model import INPUT_NAME
from components.interchange.providers import CPU_PROVIDER

LARGEST = 65_504.0
HEADROOM = 2.0  # Other images than those scanned may reach further.


class Reach(NamedTuple):
    """The largest number, without its sign, that a tensor took; `where` names the operator and the tensor."""

    where: str
    value: float


def to_fp16(path: Path) -> onnx.ModelProto:
    """The model of a file in half precision; its input and output stay what they are."""
    model = onnx.load(path)
    # Of the graph alone: the converter would hand shape inference the weights, too, of which it takes 2 GiB at most.
    model.graph.value_info.extend(onnx.shape_inference.infer_shapes(load_graph(path)).graph.value_info)
    converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True))
    converted.topological_sort(is_deterministic=True)  # The cast of an input of floats is put behind its readers.
    sorted_model: onnx.ModelProto = converted.model
    return sorted_model


def reaches(path: Path, work: Path, batches: Iterable[NDArray[Any]]) -> list[Reach]:
    """Every weight and every activation of an fp32 model over these batches (in the model's layout), largest first.

    The folder `work` holds a copy of the model for as long as this takes.
    """
    model = onnx.load(path)
    made_by = {name: f"{node.op_type} {node.name}" for node in model.graph.node for name in node.output}
    largest = {
        tensor.name: float(np.abs(onnx.numpy_helper.to_array(tensor)).max(initial=0.0))
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    }
    inferred = onnx.shape_inference.infer_shapes(load_graph(path)).graph.value_info
    floats = [value for value in inferred if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    model.graph.output.extend(value for value in floats if value.name in made_by)
    names = [value.name for value in model.graph.output]
    watched = work / "watched.onnx"
    save(model, watched)
    session = ort.InferenceSession(str(watched), options_at("none"), providers=[CPU_PROVIDER])
    for batch in batches:
        for name, values in zip(names, session.run(names, {INPUT_NAME: batch}), strict=True):
            # np.maximum keeps a NaN, where Python's max may lose it.
            largest[name] = float(np.maximum(largest.get(name, 0.0), np.abs(values).max(initial=0.0)))
    found = [Reach(f"{made_by.get(name, 'weight')} ({name})", value) for name, value in largest.items()]
    return sorted(found, key=lambda reach: -np.inf if np.isnan(reach.value) else -reach.value)


def overflows(found: list[Reach]) -> list[str]:
    """Why fp16 is not to be offered, in words; nothing where every number fits with room to spare."""
    beyond = [reach for reach in found if not reach.value <= LARGEST / HEADROOM]
    if not beyond:
        return []
    worst = beyond[0]
    return [
        f"fp16 ends at {LARGEST:,.0f}, and {len(beyond)} tensors come too close to it (over half) or pass it: "
        f"{worst.where} reaches {worst.value:,.0f}"
    ]
