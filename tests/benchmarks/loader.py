"""Augmented float batches on the CPU against ImageFolder and DataLoader: crops and flips, then random resized crops.

Ours reads the dataset that ingest made of the same 2,000 fabric images; both sides end with normalised NCHW floats.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from conformal_clip_data import textile_simulated_root
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from components.finetune.augment import Augmentation, augmented
from components.finetune.batches import epoch_batches, prefetched
from components.finetune.sampling import epoch_order
from components.ingest.spec import Ingest
from components.interchange.cli import main as run_step
from components.interchange.dataset import Split, open_dataset
from components.interchange.memory import keep_freed_memory
from components.interchange.pixels_to_logits import normalised
from tests.benchmarks.duel import Target, alternate, report

STORED_PX, CROP_PX, BATCH = 256, 224, 32
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
CROPS: dict[str, Literal["window", "resized"]] = {"loader_crops_flips": "window", "loader_resized_crops": "resized"}
TARGETS = {"loader_crops_flips": Target(">=", 8), "loader_resized_crops": Target(">=", 3)}
FIRST: dict[str, list[v2.Transform]] = {
    "loader_crops_flips": [v2.Resize(STORED_PX), v2.RandomCrop(CROP_PX)],
    "loader_resized_crops": [v2.RandomResizedCrop(CROP_PX)],
}


def images_per_s(batches: Iterable[torch.Tensor]) -> float:
    """How fast batches come; they must hold images of the right shape and type."""
    started, num_images = time.perf_counter(), 0
    for images_NCHW in batches:
        if images_NCHW.shape[1:] != (3, CROP_PX, CROP_PX) or images_NCHW.dtype != torch.float32:
            raise RuntimeError(f"a batch is {images_NCHW.dtype} {tuple(images_NCHW.shape)}")
        num_images += len(images_NCHW)
    return num_images / (time.perf_counter() - started)


def our_batches(split: Split, crop: Literal["window", "resized"], epoch: int) -> Iterable[torch.Tensor]:
    """One epoch as training has it, normalised as the classifier does."""
    how = Augmentation(CROP_PX, STORED_PX, crop)
    mean, std = (255 * torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    for batch in prefetched(epoch_batches(split, epoch_order(len(split), 0, epoch), BATCH, how, 0, epoch)):
        pixels_NHWC = augmented(batch.pixels_NHWC, batch.draws, CROP_PX)
        yield normalised(pixels_NHWC, mean, std)


def peer_loader(name: str, source: Path, num_workers: int) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """What torchvision's tutorials show."""
    last = [v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    folder = ImageFolder(str(source), v2.Compose([*FIRST[name], *last]))
    return DataLoader(folder, BATCH, shuffle=True, drop_last=True, num_workers=num_workers, persistent_workers=True)


def main() -> int:
    """Run it and return the exit code."""
    source, cores = Path(str(textile_simulated_root())), len(os.sched_getaffinity(0))
    all_met = True
    keep_freed_memory()  # As training does.
    with tempfile.TemporaryDirectory() as folder:
        places = [f"--{name}={Path(folder) / name}" for name in ("dataset", "report")]
        if run_step(Ingest, [f"--source={source}", f"--stored-size-px={STORED_PX}", *places]):
            return 1
        split = open_dataset(Path(folder) / "dataset").split("train")
        for name, crop in CROPS.items():
            loader, epochs = peer_loader(name, source, cores), iter(range(100))
            ours, peer = alternate(
                lambda crop=crop, epochs=epochs: images_per_s(our_batches(split, crop, next(epochs))),  # type: ignore[misc]
                lambda loader=loader: images_per_s(images for images, _ in loader),  # type: ignore[misc]
                n=5,
            )
            del loader
            peer_name = f"torchvision ImageFolder, DataLoader(num_workers={cores})"
            all_met &= report(name, ours, peer, peer_name, "images/s", TARGETS[name], ("torch", "torchvision"))
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
