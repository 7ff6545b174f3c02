"""fp16 and int8: what is written, what is refused, and what int8 leaves alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from torch import nn

from components.export_onnx.check import Wanted, check
from components.export_onnx.export import to_onnx
from components.export_onnx.files import save
from components.export_onnx.images import Images, first_by_id
from components.export_onnx.int8 import Recipe, exclusions, measure_ranges, parts_of, recipe_of
from components.export_onnx.losses import loss, loss_by_class, too_much
from components.export_onnx.precisions import Bench, make
from components.export_onnx.spec import ExportOnnx
from components.interchange import cores
from components.interchange.artifact import digest
from components.interchange.cards import read_onnx_card
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.onnx_model import logits_of, open_model
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing
from components.interchange.report import read_report
from tests.export_onnx.test_export_onnx import export_argv

HALF = Preprocessing(resize_short_px=40, interpolation="bicubic", crop_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def exported(network: nn.Module) -> onnx.ModelProto:
    return to_onnx(PixelsToLogits(network, HALF), 32, 17, {})


@pytest.fixture(scope="module")
def images(tiny_dataset: Path) -> dict[str, Images]:
    dataset = open_dataset(tiny_dataset)
    return {name: first_by_id(dataset.split(name), 100, 32) for name in ("val", "test")}  # type: ignore[arg-type]


def test_other_precisions_lie_beside_the_model_that_ships(
    tiny_onnx_model: Path, tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    argv = export_argv(tiny_dataset, tiny_classifier, tmp_path, "--variants", "int8,fp16", "--max-drop", "1")
    assert main(ExportOnnx, argv) == 0
    folder = tmp_path / "onnx_model"
    card, report = read_onnx_card(folder), read_report(tmp_path / "report")
    assert (folder / "model.onnx").read_bytes() == (tiny_onnx_model / "model.onnx").read_bytes()
    assert [(one.precision, one.file, one.eligible) for one in card.variants] == [
        ("int8", "variants/int8.onnx", True),
        ("fp16", "variants/fp16.onnx", True),
    ]
    assert "QuantizeLinear" in operators(folder / "variants/int8.onnx")
    assert "QuantizeLinear" not in operators(folder / "variants/fp16.onnx")
    assert (folder / "variants/int8.onnx").stat().st_size < 0.6 * (folder / "model.onnx").stat().st_size
    pixels_NHWC = open_dataset(tiny_dataset).split("test").center_crops(range(30), 32)
    expected_NC = logits_of(open_model(folder)[0], pixels_NHWC)
    for one, tolerance in zip(card.variants, (0.3, 0.01), strict=True):
        session, _ = open_model(folder, file=one.file)  # Interface and metadata are those of the card, too.
        found_NC = logits_of(session, pixels_NHWC)
        assert 0 < np.abs(found_NC - expected_NC).max() < tolerance * np.abs(expected_NC).max()
        for split in ("val", "test"):
            row = report.row("top1_difference", f"{one.precision}-fp32", split)
            assert row is not None and row.n == 30 and row.low <= row.value <= row.high
            found_nll = report.row("nll_difference", f"{one.precision}-fp32", split)
            assert found_nll is not None and 0 < abs(found_nll.value) < 0.1
        recalls = [report.row("recall_difference", f"{one.precision}-fp32/{name}", "test") for name in card.classes]
        assert [recall.n for recall in recalls if recall is not None] == [10, 10, 10]
    largest = report.row("largest_number", "fp16")
    assert largest is not None and 127 <= largest.value < 65_504


def test_the_chosen_precision_ships_and_comes_out_the_same_twice(
    tiny_onnx_model: Path, tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    for name, others in (("one", ("--variants", "fp32")), ("two", ("--variants", "fp32"))):
        argv = export_argv(tiny_dataset, tiny_classifier, tmp_path / name, "--precision", "int8", "--max-drop", "1")
        assert main(ExportOnnx, [*argv, *others]) == 0
    one = tmp_path / "one" / "onnx_model"
    assert digest(one) == digest(tmp_path / "two" / "onnx_model")
    assert "QuantizeLinear" in operators(one / "model.onnx")
    assert (one / "variants/fp32.onnx").read_bytes() == (tiny_onnx_model / "model.onnx").read_bytes()
    assert (read_onnx_card(one).precision, [v.precision for v in read_onnx_card(one).variants]) == ("int8", ["fp32"])
    report = read_report(tmp_path / "one" / "report")
    flips = report.row("flips")
    assert flips is not None and flips.value == 0  # Of the fp32 export: int8 answers for itself with max_drop.
    assert [opset.version for opset in onnx.load(one / "model.onnx").opset_import] == [17]


class _Brightest(nn.Module):
    """Tells the tiny dataset's classes (blue, green, red) by the brightest channel."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = nn.Conv2d(3, 3, 1)
        nn.init.constant_(self.channels.bias, 2.0)  # Beyond what a black image shows, whatever the channel.
        self.channels.weight.data = torch.eye(3).flip(0)[:, :, None, None]
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight.data = torch.eye(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.channels(images).mean(dim=(2, 3)))


def test_int8_that_loses_too_much_is_not_eligible(images: dict[str, Images], tmp_path: Path) -> None:
    """Calibrated on nothing but black, every activation of a real image is clipped."""
    save(exported(_Brightest()), tmp_path / "full.onnx")
    made = {}
    for name, darkness in (("seeing", 1), ("blind", 0)):
        val_NHWC = images["val"].pixels_NHWC.copy()
        val_NHWC[0] *= darkness
        seen = images | {"val": images["val"]._replace(pixels_NHWC=val_NHWC)}
        bench = Bench(tmp_path / "full.onnx", seen, num_calibration=1)  # type: ignore[arg-type]
        (tmp_path / name).mkdir()
        made[name] = make("int8", bench, tmp_path / f"{name}.onnx", tmp_path / name, {}, max_drop=0.1)
    assert (made["seeing"].because, made["seeing"].kept_fp32) == ([], [])
    assert made["seeing"].losses["test"].value == 0
    assert made["blind"].kept_fp32  # It was tried to keep the part that hurts most in fp32.
    assert made["blind"].losses["test"].value < -0.5
    assert any("int8 changes top1 by -" in reason and "test images" in reason for reason in made["blind"].because)


def num_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(cores.num_cores() == 1, reason="more than one thread is never taken")
def test_int8_is_calibrated_in_no_more_threads_than_a_container_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save(exported(_Brightest()), tmp_path / "full.onnx")

    def threads_taken() -> int:
        def batches_seen() -> Iterator[np.ndarray]:
            taken.append(num_threads() - before)
            yield np.zeros((1, 32, 32, 3), np.uint8)

        before, taken = num_threads(), list[int]()
        measure_ranges(tmp_path / "full.onnx", tmp_path / "ranges.json", Recipe(None, ()), batches_seen())
        return taken[0]

    assert threads_taken() > 0
    monkeypatch.setattr(cores, "_limit", lambda: 1.0)
    assert threads_taken() == 0


class _Loud(nn.Module):
    """Fits fp32 easily, and CPUs compute fp16 in fp32: nothing but the scan can tell."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.loud = nn.Conv2d(8, 8, 1)
        nn.init.constant_(self.loud.weight, 20_000.0)
        self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        loud = self.loud(torch.relu(self.convolution(images)) + 1)
        return self.head(loud.mean(dim=(2, 3)) / 50_000)


def test_numbers_that_half_precision_cannot_hold_are_found(images: dict[str, Images], tmp_path: Path) -> None:
    torch.manual_seed(0)
    save(exported(_Loud()), tmp_path / "loud.onnx")
    bench = Bench(tmp_path / "loud.onnx", images, num_calibration=4)  # type: ignore[arg-type]
    made = make("fp16", bench, tmp_path / "fp16.onnx", tmp_path, {}, max_drop=1)
    (reason,) = made.because
    assert "fp16 ends at 65,504" in reason and "Conv" in reason
    assert made.largest is not None and made.largest.value > 65_504


def test_fp16_of_a_model_that_takes_floats_is_a_valid_file(images: dict[str, Images], tmp_path: Path) -> None:
    """onnxruntime's converter puts the cast of such an input behind the nodes that read it."""
    model = PixelsToLogits(_Brightest(), HALF)
    path, layout = tmp_path / "model.onnx", "float32-nchw"
    save(to_onnx(model, 32, 17, {}, layout), path)
    bench = Bench(path, images, num_calibration=4)  # type: ignore[arg-type]
    made = make("fp16", bench, tmp_path / "fp16.onnx", tmp_path, {}, max_drop=1)
    check(made.path, Wanted(17, layout, 32, 3, {}), (1, 2))
    assert made.because == [] and made.losses["test"].flips == 0


def test_a_vit_keeps_everything_but_its_linear_layers() -> None:
    torch.manual_seed(0)
    model = exported(timm.create_model("test_vit", num_classes=3, img_size=32))
    operators, whole = recipe_of(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    assert operators == ("MatMul", "Gemm")
    assert whole
    for node in model.graph.node:
        if node.op_type == "MatMul":
            assert (node.name in whole) is (node.input[1] not in weights)
    assert any(node.op_type == "LayerNormalization" for node in model.graph.node)


def test_parts_are_the_networks_blocks() -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", num_classes=3)
    model = exported(network)
    assert any(getattr(module, "inplace", False) for module in network.modules()), "as it was before"
    parts = parts_of(model)
    assert recipe_of(model) == (None, ())
    assert {"blocks.2.0", "conv_stem", "classifier"} <= parts.keys()
    assert sorted(name for names in parts.values() for name in names) == sorted(node.name for node in model.graph.node)
    damage = [(part, 1.0) for part in parts]
    assert [len(kept) for kept in exclusions(damage, parts)][:3] == [1, 2, 4]


def test_a_loss_is_paired_and_counts_what_is_not_finite_as_wrong() -> None:
    labels_N = np.zeros(100, np.int64)
    full_NC = np.tile([1.0, 0.0], (100, 1))
    found_NC = full_NC.copy()
    found_NC[:4] = [0, 1]
    found_NC[4] = np.nan
    found = loss(found_NC, full_NC, labels_N)
    assert (found.value, found.n) == (-0.05, 100)
    assert found.low == pytest.approx(-0.1118, abs=1e-4)  # Wilson's of 5 in 100: none was won.
    assert found.high < 0
    assert judged(5, 100, 0.06)  # -0.05 would be allowed, but -0.09 is as possible.
    assert judged(5, 100, 0.2) == []


def judged(lost: int, images: int, max_drop: float) -> list[str]:
    """What is said of a precision that turns so many images of val wrong, and as many of test."""
    full_NC = np.tile([1.0, 0.0], (images, 1))
    found_NC = full_NC.copy()
    found_NC[:lost] = [0, 1]
    found = loss(found_NC, full_NC, np.zeros(images, int))
    return too_much("fp16", {"val": found, "test": found}, max_drop)


def test_a_class_that_is_lost_shows_beside_a_mean_that_is_not() -> None:
    labels_N = np.repeat([0, 1], [190, 10])
    full_NC = np.eye(3)[labels_N]
    found_NC = full_NC.copy()
    found_NC[-10:] = [1, 0, 0]
    kept, lost, absent = loss_by_class(found_NC, full_NC, labels_N)
    assert kept is not None and (kept.value, kept.n) == (0, 190)
    assert lost is not None and (lost.value, lost.n, lost.low) == (-1, 10, -1) and lost.high < -0.4
    assert absent is None


def test_few_images_that_do_not_change_show_no_small_drop():
    (refused,) = judged(0, 80, 0.005)
    assert refused == (
        "fp16 changes top1 by +0.0000 [-0.0234, +0.0234] on 160 val and test images against fp32, too few to show a "
        "drop of at most 0.005: about 800 would do if no larger share turns wrong, or --max-drop 0.0235"
    )
    assert judged(0, 80, 0.0235) == []
    assert judged(0, 385, 0.005) == []
    assert judged(0, 380, 0.005)


@pytest.mark.parametrize(
    ("num_lost", "num_images", "max_drop", "enough", "words"),
    [
        (1, 400, 0.005, 1_900, "if no larger share of more images turns wrong, about 1,900 would do"),
        (1, 84, 0.005, 620, "below about 620 images a single one that turns wrong is too many"),
        (30, 700, 0.005, None, "it drops by more than --max-drop 0.005"),
    ],
)
def test_a_precision_that_too_few_images_refuse_says_how_many_would_do(num_lost, num_images, max_drop, enough, words):
    refused = judged(num_lost, num_images, max_drop)
    assert len(refused) == 2  # Of val, and of test.
    assert refused[1].endswith(words)
    if enough is not None:
        still_lost = max(1, num_lost * enough // num_images) if "larger share" in words else 1
        assert not any("is possible" in reason for reason in judged(still_lost, enough, max_drop))
        assert any("is possible" in reason for reason in judged(still_lost, enough // 2, max_drop))
