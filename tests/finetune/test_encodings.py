"""Training from JPEG shards: the same batches but for what JPEG changed, and whole epochs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.finetune.augment import Augmentation, windows
from components.finetune.batches import epoch_batches
from components.finetune.resident import ResidentImages
from components.finetune.sampling import epoch_order
from components.finetune.spec import Finetune
from components.interchange.cards import read_classifier_card
from components.interchange.cli import main
from components.interchange.dataset import Split, open_dataset
from tests.conftest import write_dataset


@pytest.fixture(scope="module")
def jpeg_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `tiny_dataset`, as JPEG."""
    return write_dataset(tmp_path_factory.mktemp("jpeg") / "dataset", encoding="jpeg")


def pixels_of(split: Split) -> torch.Tensor:
    how, order = Augmentation(crop_px=32, window_px=40), epoch_order(len(split), 0, 1)
    return torch.cat([batch.pixels_NHWC for batch in epoch_batches(split, order, 6, how, seed=0, epoch=1)])


def test_batches_are_those_of_raw_shards_but_for_what_jpeg_changed(tiny_dataset: Path, jpeg_dataset: Path) -> None:
    raw, jpeg = (pixels_of(open_dataset(folder).split("train")).int() for folder in (tiny_dataset, jpeg_dataset))
    assert raw.shape == jpeg.shape == (60, 32, 32, 3)
    each_N = (raw - jpeg).abs().float().mean(dim=(1, 2, 3))
    assert 0 < each_N.max() < 20  # Coloured noise; two other windows of it differ by 28.
    torch.testing.assert_close(pixels_of(open_dataset(jpeg_dataset).split("train")).int(), jpeg)


def test_windows_of_resident_images_are_those_of_the_files(jpeg_dataset: Path) -> None:
    train = open_dataset(jpeg_dataset).split("train")
    rows_N, places_N2 = np.array([3, 0, 59]), torch.tensor([[0.0, 0.0], [0.5, 0.7], [0.99, 0.999]], dtype=torch.float64)
    found = ResidentImages(train, torch.device("cpu")).windows(rows_N, 32, places_N2)
    np.testing.assert_array_equal(found.numpy(), windows(train.images.many(rows_N), 32, places_N2))


def test_epochs_over_jpeg_shards_learn(jpeg_dataset: Path, tiny_weights: Path, tmp_path: Path) -> None:
    places = ["--dataset", str(jpeg_dataset), "--classifier", str(tmp_path / "c"), "--report", str(tmp_path / "r")]
    training = ["--backbone", "test_resnet", "--weights", str(tiny_weights), "--input-size-px", "32"]
    training += ["--batch-size", "6", "--num-epochs", "2", "--stage-multipliers", "1,1,1,10", "--base-lr", "1e-3"]
    assert main(Finetune, [*places, *training, "--device", "cpu"]) == 0
    assert read_classifier_card(tmp_path / "c").history[-1]["val_top1"] > 0.8
