"""A model whose weights no protobuf message holds: ViT-Huge, 2.5 GB in fp32. 8 GiB of memory."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import timm
import torch

from components.export_onnx.check import check
from components.export_onnx.export import to_onnx
from components.export_onnx.files import load_graph, save
from components.interchange.classifier import PixelsToLogits
from components.interchange.onnx_model import answer
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
    check(path, 17, "uint8-nhwc", SIZE_PX, 3, METADATA, (1, 2))
    full_NC = answer(session(path), pixels_NHWC)
    np.testing.assert_allclose(full_NC, torch_NC, atol=1e-4)
