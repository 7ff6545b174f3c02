"""Training on a GPU. Skipped where there is none."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from components.finetune import resident as resident_images
from components.finetune.augment import windows
from components.finetune.devices import prepared
from components.finetune.find_lr.spec import FindLr
from components.finetune.gradients import Loss, leave_gradients
from components.finetune.resident import ResidentImages, resident_if_fitting
from components.finetune.spec import Finetune
from components.interchange.cards import read_classifier_card
from components.interchange.classifier import WEIGHTS_FILE
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import read_report
from tests.finetune.test_loop import PREPROCESSING, batch_of, model, state_of

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
GIB = 2**30


def training(dataset: Path, weights: Path, *more: str) -> list[str]:
    return [
        *("--dataset", str(dataset), "--device", "cuda", "--backbone", "test_resnet", "--weights", str(weights)),
        *("--input-size-px", "32", "--batch-size", "6", "--stage-multipliers", "1,1,1,10", *more),
    ]


def trained(dataset: Path, weights: Path, out: Path, *more: str) -> bytes:
    """The weights of four epochs."""
    argv = ["--classifier", str(out / "c"), "--report", str(out / "r"), "--num-epochs", "4"]
    assert main(Finetune, [*training(dataset, weights, *more), *argv]) == 0
    return (out / "c" / WEIGHTS_FILE).read_bytes()


@pytest.mark.parametrize("more", [(), ("--augment", "randaugment", "--mixup", "0.2", "--ema-decay", "0.9")])
def test_it_learns_on_a_gpu(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    trained(tiny_dataset, tiny_weights, tmp_path, *more)
    assert read_classifier_card(tmp_path / "c").history[-1]["val_top1"] > 0.8


def test_compiled_it_learns_the_same(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path) -> None:
    trained(tiny_dataset, tiny_weights, tmp_path, "--compile-model", "true")
    assert read_classifier_card(tmp_path / "c").history[-1]["val_top1"] > 0.8


def test_one_seed_gives_one_model_wherever_the_images_lie(
    tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_gpu = trained(tiny_dataset, tiny_weights, tmp_path / "resident")
    monkeypatch.setattr(resident_images, "SHARE_OF_FREE_MEMORY", 0.0)
    assert trained(tiny_dataset, tiny_weights, tmp_path / "copied") == on_the_gpu


def test_small_data_stay_on_the_gpu_and_give_the_same_windows(tiny_dataset: Path) -> None:
    train = open_dataset(tiny_dataset).split("train")
    resident = resident_if_fitting(train, torch.device("cuda"))
    assert isinstance(resident, ResidentImages)
    rows_N, places_N2 = np.arange(8), torch.rand(8, 2, dtype=torch.float64)
    found = resident.windows(rows_N, 32, places_N2).cpu().numpy()
    np.testing.assert_array_equal(found, windows([train.images[row] for row in rows_N], 32, places_N2))


def test_memory_that_really_runs_out_halves_the_parts_and_not_the_batch(
    tiny_dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few, times = batch_of(tiny_dataset, 32), 128
    rows_N = np.tile(few.rows_N, times)
    draws = few.draws.each(lambda drawn: drawn.repeat(times, *[1] * (drawn.ndim - 1)))
    many = dataclasses.replace(
        few, pixels_NHWC=few.pixels_NHWC.repeat(times, 1, 1, 1), labels_N=few.labels_N.repeat(times),
        draws=draws, rows_N=rows_N, of=len(rows_N),
    )  # fmt: skip

    def gradient(device_batch: int) -> tuple[torch.Tensor, int]:
        module = model().to(hardware.device)
        state = state_of(module, device_batch)
        pixels_to_logits = PixelsToLogits(module, PREPROCESSING).to(hardware.device)
        leave_gradients(pixels_to_logits, Loss(torch.ones(3), 0.0).to(hardware.device), many, 32, state, hardware)
        found = torch.cat([part.grad.flatten() for part in module.parameters() if part.grad is not None])
        return found, state.progress.device_batch

    with prepared("cuda") as hardware:
        gradient(len(many) // 8)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        in_parts, _ = gradient(len(many) // 8)
        most = 2 * torch.cuda.max_memory_reserved() + GIB // 8
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(hardware.device).total_memory
        torch.cuda.set_per_process_memory_fraction(most / total)
        try:
            halved, device_batch = gradient(len(many))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert 2 < device_batch < len(many)
    assert f"out_of_memory device_batch={len(many)} -> {len(many) // 2}" in caplog.text
    torch.testing.assert_close(halved, in_parts, rtol=0.05, atol=0.05 * in_parts.abs().max().item())


def test_more_processes_than_gpus_are_refused(
    tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    count = torch.cuda.device_count()
    monkeypatch.setenv("LOCAL_RANK", str(count))
    argv = ["--classifier", str(tmp_path / "c"), "--report", str(tmp_path / "r")]
    assert main(Finetune, [*training(tiny_dataset, tiny_weights), *argv]) == 2
    assert f"has no GPU of its own: torch sees {count}" in capsys.readouterr().err


def test_the_range_test_learns_on_its_way(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path) -> None:
    argv = ["--report", str(tmp_path / "r"), "--num-steps", "40"]
    assert main(FindLr, [*training(tiny_dataset, tiny_weights), *argv]) == 0
    losses = read_report(tmp_path / "r").details["losses"]
    assert min(losses) < 0.8 * losses[0]
