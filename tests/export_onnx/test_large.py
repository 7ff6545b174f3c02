"""Models whose weights no protobuf message holds: ViT-Huge, 2.5 GB in fp32, and two wide layers. 13 GiB of memory."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper

from components.export_onnx.check import Wanted, check
from components.export_onnx.export import to_onnx
from components.export_onnx.files import load_graph, save, size_bytes
from components.export_onnx.images import Images
from components.export_onnx.precisions import JUDGED_ON, Bench, make
from components.interchange.cards import Precision
from components.interchange.onnx_model import answer
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing

BACKBONE, SIZE_PX = "vit_huge_patch14_224", 224
METADATA = {"classes": '["a", "b", "c"]'}


def session(path: Path) -> Any:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_weights_over_2_gib_are_exported_checked_and_agree(tmp_path: Path) -> None:
    torch.manual_seed(0)
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(
        resize_short_px=SIZE_PX, interpolation="bicubic", crop_px=SIZE_PX, mean=half, std=half
    )
    model = PixelsToLogits(timm.create_model(BACKBONE, num_classes=3).eval(), preprocessing)
    pixels_NHWC = np.random.default_rng(0).integers(0, 255, (2, SIZE_PX, SIZE_PX, 3), np.uint8)
    with torch.inference_mode():
        torch_NC = model(torch.from_numpy(pixels_NHWC)).numpy()
    path = tmp_path / "model.onnx"
    save(to_onnx(model, SIZE_PX, 17, METADATA), path)
    del model
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert (tmp_path / "model.onnx.data").stat().st_size > 2**31 > 1000 * path.stat().st_size
    places = [entry.value for t in load_graph(path).graph.initializer for entry in t.external_data]
    assert {place for place in places if not place.isdigit()} == {"model.onnx.data"}
    check(path, Wanted(17, "uint8-nhwc", SIZE_PX, 3, METADATA), (1, 2))
    full_NC = answer(session(path), pixels_NHWC)
    np.testing.assert_allclose(full_NC, torch_NC, atol=1e-4)


def two_wide_layers(width: int) -> onnx.ModelProto:
    """32 px images to three logits through `width` numbers, twice: 24 KB of weights for each of them. Takes no time."""
    first = np.random.default_rng(0).standard_normal((3 * 32 * 32, width), np.float32) * np.float32(0.02)
    second = np.random.default_rng(1).standard_normal((width, 3), np.float32) * np.float32(0.01)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "white"], ["scaled"], "div"),
        helper.make_node("Reshape", ["scaled", "flat"], ["row"], "reshape"),
        *(helper.make_node("MatMul", ["row", f"first{k}"], [f"wide{k}"], f"first.{k}") for k in (0, 1)),
        *(helper.make_node("MatMul", [f"wide{k}", "second"], [f"part{k}"], f"second.{k}") for k in (0, 1)),
        helper.make_node("Add", ["part0", "part1"], ["logits"], "add"),
    ]
    weights = {
        "white": np.float32(255),
        "flat": np.array([-1, 3 * 32 * 32]),
        "first0": first,
        "first1": -first[::-1],
        "second": second,
    }
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 32, 32, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precisions_are_made_of_weights_over_2_gib(tmp_path: Path, precision: Precision) -> None:
    full, lower, work = tmp_path / "model.onnx", tmp_path / "lower.onnx", tmp_path / "work"
    work.mkdir()
    save(two_wide_layers(92_000), full)
    assert size_bytes(full) > 2**31 > 1000 * full.stat().st_size
    rng = np.random.default_rng(2)
    images = {
        split: Images(list("abcdefgh"), rng.integers(0, 3, 8), rng.integers(0, 255, (8, 32, 32, 3), np.uint8))
        for split in JUDGED_ON
    }
    bench = Bench(full, images, 8)
    made = make(precision, bench, lower, work, METADATA, max_drop=1.0)
    assert not made.because
    assert size_bytes(lower) < 0.6 * size_bytes(full)
    check(lower, Wanted(17, "uint8-nhwc", 32, 3, METADATA), (1, 2))
    found_NC = answer(session(lower), images["val"].pixels_NHWC)
    np.testing.assert_allclose(found_NC, bench.full_NC["val"], atol=0.1 * np.ptp(bench.full_NC["val"]))
