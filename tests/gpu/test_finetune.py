"""Training on a GPU. Skipped where there is none; not run so far, as no machine of the project had one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.finetune.augment import windows
from components.finetune.resident import ResidentImages, resident_if_fitting
from components.finetune.spec import Finetune
from components.interchange.cards import read_classifier_card
from components.interchange.cli import main
from components.interchange.dataset import open_dataset

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


def argv(dataset: Path, weights: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--dataset", str(dataset), "--classifier", str(out / "c"), "--report", str(out / "r"), "--device", "cuda"),
        *("--backbone", "test_resnet", "--weights", str(weights), "--input-size-px", "32", "--batch-size", "6"),
        *("--num-epochs", "4", "--stage-multipliers", "1,1,1,10", *more),
    ]


@pytest.mark.parametrize("more", [(), ("--augment", "randaugment", "--mixup", "0.2", "--ema-decay", "0.9")])
def test_it_learns_on_a_gpu(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    assert main(Finetune, argv(tiny_dataset, tiny_weights, tmp_path, *more)) == 0
    assert read_classifier_card(tmp_path / "c").history[-1]["val_top1"] > 0.8


def test_compiled_it_learns_the_same(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path) -> None:
    assert main(Finetune, argv(tiny_dataset, tiny_weights, tmp_path, "--compile-model", "true")) == 0
    assert read_classifier_card(tmp_path / "c").history[-1]["val_top1"] > 0.8


def test_small_data_stay_on_the_gpu_and_give_the_same_windows(tiny_dataset: Path) -> None:
    train = open_dataset(tiny_dataset).split("train")
    resident = resident_if_fitting(train, torch.device("cuda"))
    assert isinstance(resident, ResidentImages)
    rows_N, places_N2 = np.arange(8), torch.rand(8, 2, dtype=torch.float64)
    found = resident.windows(rows_N, 32, places_N2).cpu().numpy()
    np.testing.assert_array_equal(found, windows([train.images[row] for row in rows_N], 32, places_N2))
