"""One split on its way to the disk, in the order of its ids."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from components.ingest.parallel import in_order
from components.ingest.pictures import Picture
from components.ingest.statistics import split_digest
from components.interchange.cores import num_cores
from components.interchange.dataset import SplitName
from components.interchange.ledgers import Sample
from components.interchange.progress import progress
from components.interchange.stored_images import Encoding, StoredImage, write_shards


class WrittenSplit(NamedTuple):
    """What went into a split: names of its shards, bytes of its images as they are stored, sha256 over the images
    before they were encoded, a row of the ledger for each.
    """

    shards: list[str]
    num_bytes: int
    digest: str
    samples: list[Sample]


def write_split(
    folder: Path, split: SplitName, pictures: Sequence[Picture], classes: list[str], encoding: Encoding
) -> WrittenSplit:
    """Write the pictures in their order; all of them are in `encoding`."""
    labels = {label: index for index, label in enumerate(classes)}
    num_bytes = 0

    def stored(one: Picture) -> StoredImage:
        shape = (one.stored_height_px, one.stored_width_px)
        return StoredImage(one.id, labels[one.source.label], *shape, one.stored.read())

    def images() -> Iterator[StoredImage]:
        nonlocal num_bytes
        ready = in_order(stored, pictures, num_cores())
        for image in progress(ready, f"ingest: writing {split}", total=len(pictures)):
            num_bytes += len(image.data)
            yield image

    shards = write_shards(folder, split, images(), encoding)
    lines = (
        (one.id, labels[one.source.label], one.stored_height_px, one.stored_width_px, one.pixels_sha256)
        for one in pictures
    )
    return WrittenSplit(shards, num_bytes, split_digest(lines), [_sample(picture, split) for picture in pictures])


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
