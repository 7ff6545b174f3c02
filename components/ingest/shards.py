"""One split on its way to the disk, in the order of its ids."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.ingest.pictures import Picture
from components.ingest.statistics import split_digest
from components.interchange.dataset import SplitName, StoredImage, write_shards
from components.interchange.ledgers import Sample
from components.interchange.progress import progress


class WrittenSplit(NamedTuple):
    """What went into a split: names of its shards, sha256 over its images, a row of the ledger for each."""

    shards: list[str]
    digest: str
    samples: list[Sample]


def write_split(folder: Path, split: SplitName, pictures: Sequence[Picture], classes: list[str]) -> WrittenSplit:
    """Write the pictures in their order."""
    labels = {label: index for index, label in enumerate(classes)}

    def images() -> Iterator[StoredImage]:
        for picture in progress(pictures, f"ingest: writing {split}", total=len(pictures)):
            shape = (picture.stored_height_px, picture.stored_width_px, 3)
            pixels_HWC = np.frombuffer(picture.stored.read(), np.uint8).reshape(shape)
            yield StoredImage(picture.id, labels[picture.source.label], pixels_HWC)

    shards = write_shards(folder, split, images())
    lines = (
        (one.id, labels[one.source.label], one.stored_height_px, one.stored_width_px, one.pixels_sha256)
        for one in pictures
    )
    return WrittenSplit(shards, split_digest(lines), [_sample(picture, split) for picture in pictures])


def _sample(picture: Picture, split: SplitName) -> Sample:
    return Sample(
        id=picture.id,
        path=picture.source.path,
        label=picture.source.label,
        split=split,
        group=picture.source.group,
        width=picture.width_px,
        height=picture.height_px,
        format=picture.format,
        phash=picture.look.phash,
        brightness=picture.look.brightness,
        attributes=picture.source.attributes,
    )
