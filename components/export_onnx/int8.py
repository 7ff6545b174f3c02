"""8-bit integers: static quantisation with onnxruntime's own tools (QDQ, per channel), calibrated on real images.

Recipes by what is in the graph, not by name: with LayerNormalization (ViT) Linear layers alone; otherwise (ResNet,
EfficientNet) everything the tools know. Where that costs too much, the parts that hurt most stay in fp32: each part is
quantised alone and its damage to the logits measured. N images, C classes.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, MinMaxCalibrater, QuantType, quantize_static
from onnxruntime.quantization.calibrate import save_tensors_data

from components.export_onnx.files import must_be_parted, remove
from components.export_onnx.settings import options_at
from components.interchange.onnx_model import INPUT_NAME
from components.interchange.progress import progress
from components.interchange.providers import CPU_PROVIDER
from components.interchange.scoring import Logits

LINEAR = ("MatMul", "Gemm")
Parts = dict[str, list[str]]


class Recipe(NamedTuple):
    """Operators to quantise (None: all that onnxruntime's tools know) and names of nodes that stay in fp32."""

    operators: tuple[str, ...] | None
    whole: tuple[str, ...]


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Iterable[NDArray[Any]]) -> None:
        self.feeds = iter([{INPUT_NAME: batch} for batch in batches])

    def get_next(self) -> Any:
        return next(self.feeds, None)


class _Calibrater(MinMaxCalibrater):  # type: ignore[misc]
    def create_inference_session(self) -> None:
        # Its own session has a thread for every core of the machine, whatever a container allows.
        self.infer_session = ort.InferenceSession(
            self.augmented_model_path, options_at("none"), providers=[CPU_PROVIDER]
        )


def recipe_of(model: onnx.ModelProto) -> Recipe:
    """How this graph is quantised at most."""
    if not any(node.op_type == "LayerNormalization" for node in model.graph.node):
        return Recipe(None, ())
    weights = {tensor.name for tensor in model.graph.initializer}
    attention = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] not in weights]
    return Recipe(LINEAR, tuple(attention))


def parts_of(model: onnx.ModelProto) -> Parts:
    """Nodes by part of the network: a node belongs to the module whose weights were used last before it.

    `blocks.1.0` and `blocks.1.0.se` are parts, their convolutions are not.
    """
    weights = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) > 1}
    parts: Parts = {}
    part = "input"
    for node in model.graph.node:
        own = [name for name in node.input if name in weights and node.op_type in ("Conv", *LINEAR)]
        if own:
            modules = own[0].split("model.")[-1].split(".")[:-1]
            part = ".".join(modules[:-1] or modules)
        parts.setdefault(part, []).append(node.name)
    return parts


def measure_ranges(full: Path, ranges: Path, recipe: Recipe, batches: Iterable[NDArray[Any]]) -> None:
    """Write to the file `ranges` what numbers the tensors of the model `full` take over batches in its layout.

    For as long as this takes a copy of the model lies beside it.
    """
    with TemporaryDirectory(dir=ranges.parent) as place:
        watched = Path(place) / "watched.onnx"
        calibrater = _Calibrater(full, recipe.operators, str(watched), use_external_data_format=True)
        calibrater.augment_graph()
        calibrater.create_inference_session()
        calibrater.collect_data(_Batches(batches))
    save_tensors_data(calibrater.compute_data(), ranges)


def quantise(model: onnx.ModelProto, path: Path, ranges: Path, recipe: Recipe, whole: Sequence[str]) -> None:
    """Write the quantised model to `path`, by the ranges measured; the nodes in `whole` stay in fp32 as well."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    # The tools ask for a preparation that the export has done already (folding, shapes), and warn without this mark.
    onnx.helper.set_model_props(copy, {"onnx.quant.pre_process": "onnxruntime.quant"})
    remove(path)  # Weights beside a file would be appended to those of the file before.
    logging.disable(logging.WARNING)  # They log to the root logger, a line a tensor.
    try:
        quantize_static(
            copy,
            path,
            None,
            op_types_to_quantize=None if recipe.operators is None else list(recipe.operators),
            nodes_to_exclude=[*recipe.whole, *whole],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibration_cache_path=ranges,
            use_external_data_format=must_be_parted(model),
        )
    finally:
        logging.disable(logging.NOTSET)


def damage_by_part(
    parts: Parts, logits_without: Callable[[Sequence[str]], Logits], full_NC: Logits
) -> list[tuple[str, float]]:
    """Mean squared change of the logits when one part alone is quantised, the worst part first.

    `logits_without` quantises all nodes but those named and returns the logits of the images that `full_NC` is of.
    """
    everything = [name for names in parts.values() for name in names]
    found = {}
    for part in progress(parts, "damage of int8", total=len(parts), unit=" parts"):
        own = set(parts[part])
        logits_NC = logits_without([name for name in everything if name not in own])
        found[part] = float(np.square(logits_NC - full_NC).mean())
    return sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))


def exclusions(damage: Sequence[tuple[str, float]], parts: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Parts to keep in fp32, in growing numbers (1, 2, 4, …, half of all), the worst first."""
    number = 1
    while number <= len(damage) // 2:
        yield [part for part, _ in damage[:number]]
        number *= 2
