"""The plain loop's side, in the process that `plain_peer` starts.

`python -m tests.benchmarks.plain_side head|all IMAGES`; the last line of its standard output is a JSON object. `head`:
seconds of five epochs of SGD on the head over a frozen backbone, the best val top1. `all`: images a second of an epoch
in which all layers learn, after one that does not count. fp32, ImageFolder, DataLoader; imports do not count.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from components.interchange.cores import num_cores
from tests.benchmarks.fabric import BATCH, CROP_PX, MEAN, STD, STORED_PX, pretrained
from tests.benchmarks.plain_peer import EPOCHS


def loader(images: Path, side: str) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """ImageFolder and DataLoader: crops and flips for train, the centre for the rest; a worker a core."""
    crop = [v2.RandomCrop(CROP_PX), v2.RandomHorizontalFlip()] if side == "train" else [v2.CenterCrop(CROP_PX)]
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    folder = ImageFolder(str(images / side), v2.Compose([v2.Resize(STORED_PX), *crop, *last]))
    train = side == "train"
    return DataLoader(folder, BATCH, shuffle=train, drop_last=train, num_workers=num_cores(), persistent_workers=True)


def plain_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: DataLoader[tuple[torch.Tensor, torch.Tensor]]
) -> float:
    """One pass of the loop that everyone writes, in fp32; images a second."""
    started, num_images = time.perf_counter(), 0
    for images_NCHW, labels_N in batches:
        loss = nn.functional.cross_entropy(model(images_NCHW), labels_N)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        num_images += len(labels_N)
    return num_images / (time.perf_counter() - started)


@torch.no_grad()
def plain_top1(model: nn.Module, batches: DataLoader[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Share of the images that the model gets right, in eval mode."""
    model.eval()
    right = [(model(images_NCHW).argmax(1) == labels_N).double() for images_NCHW, labels_N in batches]
    return float(torch.cat(right).mean())


def train_head(images: Path) -> dict[str, float]:
    """The tutorial's training: forward every epoch, val after each."""
    started = time.perf_counter()
    train, val = loader(images, "train"), loader(images, "validation")
    model = pretrained(3).requires_grad_(False)
    head = model.get_classifier().requires_grad_(True)  # type: ignore[operator]
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9)
    found = []
    for _ in range(EPOCHS):
        plain_epoch(model.eval(), optimizer, train)
        found.append(plain_top1(model, val))
    return {"seconds": time.perf_counter() - started, "val_top1": max(found)}


def train_all(images: Path) -> dict[str, float]:
    """The second of two epochs."""
    batches, model = loader(images, "train"), pretrained(3).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05)
    plain_epoch(model, optimizer, batches)
    return {"images_per_s": plain_epoch(model, optimizer, batches)}


if __name__ == "__main__":
    print(json.dumps({"head": train_head, "all": train_all}[sys.argv[1]](Path(sys.argv[2]))))
