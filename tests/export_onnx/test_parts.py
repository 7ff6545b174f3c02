"""Parts of the export: the graph, the checks of the file, and the comparison with torch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from timm.layers import create_conv2d
from torch import nn

from components.export_onnx.check import InvalidModel, Wanted, check
from components.export_onnx.code import code_digest
from components.export_onnx.export import opset_of, to_onnx
from components.export_onnx.files import load_graph, save, size_bytes
from components.export_onnx.parity import Parity, compare, findings
from components.export_onnx.settings import Setting, batch_sizes, settings
from components.interchange.cards import read_onnx_card
from components.interchange.errors import BadInput
from components.interchange.onnx_model import logits_of, metadata_of, open_model
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing
from components.interchange.scoring import Logits, ece, nll


def checked(folder: Path, **changes: Any) -> None:
    wanted = Wanted(17, "uint8-nhwc", 32, 3, metadata_of(read_onnx_card(folder)))
    check(folder / "model.onnx", wanted._replace(**changes), (1, 2, 7))


def test_same_padding_and_pooling_become_no_shape_arithmetic() -> None:
    torch.manual_seed(0)
    convolution = create_conv2d(3, 8, 3, stride=2, padding="same", bias=False)
    network = nn.Sequential(
        convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(resize_short_px=32, interpolation="bicubic", crop_px=32, mean=half, std=half)
    model = to_onnx(PixelsToLogits(network, preprocessing), 32, 17, {})
    assert opset_of(model) == 17
    assert len(model.graph.node) <= 10
    assert {node.op_type for node in model.graph.node}.isdisjoint({"Shape", "Range", "Gather", "BatchNormalization"})


class _Choosy(nn.Module):
    """What it computes depends on what it sees, which no graph can hold."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = images.mean(dim=(2, 3))
        return pooled if pooled.sum() > 0 else -pooled


def test_a_backbone_that_torch_cannot_export_is_refused_in_a_line() -> None:
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(resize_short_px=32, interpolation="bicubic", crop_px=32, mean=half, std=half)
    with pytest.raises(
        BadInput, match=r"cannot export this backbone to ONNX\. Choose another one\. \(\w+: "
    ) as refused:
        to_onnx(PixelsToLogits(_Choosy(), preprocessing), 32, 17, {})
    assert "\n" not in str(refused.value)


class _Clamped(nn.Module):
    """One tensor clamped to buffers of three modules, as Gemma4-ViT's attention does."""

    def __init__(self) -> None:
        super().__init__()
        for number in range(3):
            for name, value in (("low", -1.0 - number), ("high", 1.0 + number)):
                self.register_buffer(f"{name}_{number}", torch.tensor(value))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        doubled = 2 * images_NCHW
        bounds = [(self.get_buffer(f"low_{number}"), self.get_buffer(f"high_{number}")) for number in range(3)]
        return torch.stack([doubled.clamp(*each).mean((1, 2, 3)) for each in bounds], 1)


def test_constants_that_torch_leaves_out_are_in_the_file() -> None:
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(resize_short_px=32, interpolation="bicubic", crop_px=32, mean=half, std=half)
    model = PixelsToLogits(_Clamped(), preprocessing)
    pixels_NHWC = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    session = ort.InferenceSession(to_onnx(model, 32, 17, {}).SerializeToString())
    expected_NC = model(torch.from_numpy(pixels_NHWC)).numpy()
    np.testing.assert_allclose(session.run(None, {"pixels": pixels_NHWC})[0], expected_NC, atol=1e-5)


def test_an_intact_file_passes(tiny_onnx_model: Path) -> None:
    checked(tiny_onnx_model)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"opset": 18}, "opset: found 17, expected 18"),
        ({"layout": "float32-nchw"}, "inputs: found .*32.* expected .*3, 32, 32"),
        ({"crop_px": 64}, "inputs: found .*32.* expected .*64"),
        ({"num_classes": 4}, "outputs: found .*3.* expected .*4"),
        ({"metadata": {"classes": "[]"}}, "metadata: found .*blue"),
    ],
)
def test_every_contradiction_is_found(tiny_onnx_model: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidModel, match=words):
        checked(tiny_onnx_model, **changes)


def test_a_fixed_batch_and_a_truncated_file_are_found(tiny_onnx_model: Path, copied: object) -> None:
    folder = copied(tiny_onnx_model)  # type: ignore[operator]
    model = onnx.load(folder / "model.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(InvalidModel, match="inputs"):
        checked(folder)
    (folder / "model.onnx").write_bytes((tiny_onnx_model / "model.onnx").read_bytes()[:5000])
    with pytest.raises(InvalidModel, match="no valid ONNX model"):
        checked(folder)


def at_batch(batch: int) -> Setting:
    return Setting("CPUExecutionProvider", "all", batch)


def compared(ids: list[str], reference_NC: Logits, found_NC_by_batch: dict[int, Logits]) -> Parity:
    labels_N = reference_NC.argmax(axis=1)
    found = {at_batch(batch): found_NC for batch, found_NC in found_NC_by_batch.items()}
    return compare(ids, labels_N, 1.0, reference_NC, found)


def test_flips_are_named_with_image_classes_and_batch() -> None:
    reference_NC = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    flipped_NC = reference_NC.copy()
    flipped_NC[1] = [0, 0.5, 0.75]
    parity = compared(["a", "b", "c"], reference_NC, {1: reference_NC, 7: flipped_NC})
    assert [(flip.id, flip.torch, flip.onnx, flip.batch) for flip in parity.flips] == [("b", 1, 2, 7)]
    assert parity.max_abs_diff == 0.75
    assert findings(parity, 1.0) == []  # The gate judges flips.
    assert len(findings(parity, 0.7)) == 1
    same, turned = parity.agreements
    assert (same.flips, same.max_abs_diff, same.ece_difference, same.nll_difference) == (0, 0, 0, 0)
    assert (turned.setting, turned.flips) == (at_batch(7), 1)
    assert turned.nll_difference == pytest.approx(nll(flipped_NC, np.arange(3)) - nll(reference_NC, np.arange(3)))
    assert turned.ece_difference == pytest.approx(ece(flipped_NC, np.arange(3)) - ece(reference_NC, np.arange(3)))


def test_a_difference_counts_as_a_share_of_large_logits_and_of_one() -> None:
    reference_NC = np.array([[96.0, -20.0], [0.25, 0.0]], np.float32)
    of_the_large, of_the_small = (
        reference_NC + np.array(added, np.float32) for added in ([[0.096], [0]], [[0], [0.01]])
    )
    parity = compared(["a", "b"], reference_NC, {1: of_the_large})
    assert parity.max_abs_diff == pytest.approx(0.096, rel=1e-3)
    assert parity.max_rel_diff == pytest.approx(0.001, rel=1e-3)
    assert findings(parity, 1.1e-3) == [] and len(findings(parity, 0.9e-3)) == 1
    assert compared(["a", "b"], reference_NC, {1: of_the_small}).max_rel_diff == pytest.approx(0.01)


def test_a_near_tie_that_turns_is_a_flip() -> None:
    reference_NC = np.array([[1.0, 1.0, 0.0]], np.float32)
    turned_NC = np.array([[1.0, np.nextafter(np.float32(1), np.float32(2)), 0.0]], np.float32)
    assert len(compared(["a"], reference_NC, {1: turned_NC}).flips) == 1


def test_logits_that_are_not_finite_are_never_parity() -> None:
    reference_NC = np.zeros((2, 2), np.float32)
    broken_NC = np.array([[np.nan, 0], [0, 0]], np.float32)
    for found in ({1: broken_NC, 2: reference_NC}, {1: reference_NC, 2: broken_NC}):
        parity = compared(["a", "b"], reference_NC, found)
        assert parity.max_abs_diff is None
        assert "some logits are not finite" in findings(parity, 1e-3)


def test_every_level_and_every_batch_up_to_the_largest_is_compared() -> None:
    assert batch_sizes(32) == [1, 2, 7, 32]
    assert batch_sizes(2) == [1, 2]
    found = settings(["CUDAExecutionProvider", "CPUExecutionProvider"], [1, 2, 32])
    served = [(provider, batch) for provider, level, batch in found if level == "all"]
    assert served == [
        (name, batch) for name in ("CUDAExecutionProvider", "CPUExecutionProvider") for batch in (1, 2, 32)
    ]
    assert {(level, batch) for _, level, batch in found} >= {("none", 32), ("basic", 32), ("extended", 32)}


def test_weights_go_outside_above_the_limit_and_nowhere_else(tiny_onnx_model: Path, copied: object) -> None:
    folder = copied(tiny_onnx_model)  # type: ignore[operator]
    path, expected = folder / "model.onnx", (tiny_onnx_model / "model.onnx").read_bytes()
    save(onnx.load(path), path, most_bytes=2**31)
    assert path.read_bytes() == expected
    assert not (folder / "model.onnx.data").exists()
    save(onnx.load(path), path, most_bytes=10_000)
    assert path.stat().st_size < len(expected) / 2
    assert size_bytes(path) == pytest.approx(len(expected), rel=0.2)
    checked(folder)
    session, _ = open_model(folder, hashed=False)
    pixels_NHWC = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    inside, _ = open_model(tiny_onnx_model)
    np.testing.assert_array_equal(logits_of(session, pixels_NHWC), logits_of(inside, pixels_NHWC))
    data = (folder / "model.onnx.data").read_bytes()
    (folder / "model.onnx.data").unlink()
    save(onnx.load(tiny_onnx_model / "model.onnx"), path, most_bytes=10_000)
    assert (folder / "model.onnx.data").read_bytes() == data  # Deterministic.


@pytest.mark.parametrize("absolute", [False, True])
def test_weights_outside_the_models_folder_are_refused(tiny_onnx_model: Path, copied: object, absolute: bool) -> None:
    folder = copied(tiny_onnx_model)  # type: ignore[operator]
    path = folder / "model.onnx"
    save(onnx.load(path), path, most_bytes=10_000)
    outside = (folder / "model.onnx.data").rename(folder.parent / "elsewhere.data")
    place = str(outside) if absolute else "../elsewhere.data"
    model = load_graph(path)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = place
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match=r"cannot be loaded by onnxruntime"):
        open_model(folder)
    with pytest.raises(InvalidModel, match="no valid ONNX model"):
        checked(folder)


def test_code_digest_changes_with_its_packages_alone(tmp_path: Path) -> None:
    for package in ("mine", "shared", "other"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("one = 1\n")

    def found() -> str:
        return code_digest(tmp_path, ("mine", "shared"))

    first = found()
    (tmp_path / "mine" / "a.pyc").write_text("compiled")
    (tmp_path / "other" / "a.py").write_text("one = 2\n")
    assert found() == first
    (tmp_path / "shared" / "a.py").write_text("one = 2\n")
    assert found() != first
