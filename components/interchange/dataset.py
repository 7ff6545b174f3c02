"""The dataset artifact: uint8 RGB images in Arrow IPC shards, memory-mapped; a manifest and two ledgers.

    manifest.json  samples.parquet  quarantine.parquet  originals/<id><suffix>  {train,val,test}-00000.arrow

`stored_images.py` says what a shard holds. Images keep their aspect ratio; their short side is `stored_size_px`.
Version 2 has an encoding; version 1 had none, and is read as raw.
Legend: N images, H height, W width, C 3 channels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from components.interchange.artifact import digest, read_card_as
from components.interchange.errors import BadInput
from components.interchange.ledgers import Sample, read_samples
from components.interchange.preprocessing import Interpolation
from components.interchange.stored_images import Encoding, StoredImages, read_shards

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
ID_LENGTH = 64  # sha256 in hex
FEW_TRAIN_IMAGES = 500  # Below, fine-tuning mostly learns the noise of its few images.
ORIGINALS_FOLDER = "originals"


class ChannelStatistics(BaseModel):
    """Per-channel mean and standard deviation of the training pixels, RGB on [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Manifest(BaseModel):
    """What a dataset is. `counts[split][class]` are images; `digests[split]` cover ids, labels and pixels, as
    they were before they were encoded.
    """

    model_config = ConfigDict(extra="ignore")

    format: str
    classes: list[str]
    stored_size_px: int
    interpolation: Interpolation
    encoding: Encoding = "raw"
    counts: dict[str, dict[str, int]]
    quarantined: int
    split_policy: dict[str, Any]
    shards: dict[str, list[str]]
    digests: dict[str, str]
    statistics: ChannelStatistics


@dataclass(frozen=True)
class Split:
    """One side of the split: `images[i]` is uint8 [H, W, 3], `images.many(rows)` are several."""

    name: SplitName
    ids: list[str]
    labels_N: NDArray[np.int64]
    images: StoredImages

    def __len__(self) -> int:
        return len(self.ids)

    def center_crops(self, indices: Iterable[int], crop_px: int) -> NDArray[np.uint8]:
        """Centre crops as uint8 [n, crop_px, crop_px, 3]; the offset is rounded down, as in `pixels.center_crop`."""
        chosen = self.images.many(indices)
        crops_NHWC = np.empty((len(chosen), crop_px, crop_px, 3), np.uint8)
        for row, image in enumerate(chosen):
            top, left = (image.shape[0] - crop_px) // 2, (image.shape[1] - crop_px) // 2
            crops_NHWC[row] = image[top : top + crop_px, left : left + crop_px]
        return crops_NHWC


@dataclass(frozen=True)
class Dataset:
    """A dataset artifact, opened."""

    folder: Path
    manifest: Manifest

    @property
    def classes(self) -> list[str]:
        return self.manifest.classes

    def digest(self) -> str:
        """The artifact's content digest."""
        return digest(self.folder)

    def split(self, name: SplitName) -> Split:
        """Open one split. The shards stay mapped as long as the split's images are in use."""
        paths = [self.folder / shard for shard in self.manifest.shards[name]]
        return Split(name, *read_shards(paths, self.manifest.encoding))

    def samples(self) -> list[Sample]:
        """Every image that was taken, in the order of the shards: train, val, test."""
        return read_samples(self.folder)

    def originals(self) -> dict[str, Path]:
        """The untouched source files of some test images, by id, sorted."""
        folder = self.folder / ORIGINALS_FOLDER
        if not folder.is_dir():
            raise BadInput(f"{self.folder} has no {ORIGINALS_FOLDER}. Was the dataset copied whole?")
        return {path.name[:ID_LENGTH]: path for path in sorted(folder.iterdir())}


def open_dataset(folder: Path) -> Dataset:
    """Open a dataset artifact; BadInput when it is missing, damaged or of a newer format."""
    return Dataset(folder, read_card_as(Manifest, folder, "dataset"))
