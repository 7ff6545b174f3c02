"""One split on its way to the disk, in the order of its ids."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from components.ingest.kept import Kept, lines, shard_of
from components.ingest.parallel import in_order
from components.ingest.pictures import Picture
from components.ingest.seen import InShard
from components.ingest.statistics import split_digest
from components.interchange.cores import num_cores
from components.interchange.dataset import SplitName
from components.interchange.ledgers import Sample
from components.interchange.progress import progress
from components.interchange.stored_images import Encoding, StoredImage, shard_name, shared_shards, write_shard


class WrittenShard(NamedTuple):
    """A shard: what it holds, its name, the bytes of its images as they are stored, and the sha256 of each."""

    holding: str
    name: str
    num_bytes: int
    sha256s: list[str]


class WrittenSplit(NamedTuple):
    """What went into a split: its shards, sha256 over the images before they were encoded, a row of the ledger each."""

    shards: list[WrittenShard]
    digest: str
    samples: list[Sample]

    @property
    def num_bytes(self) -> int:
        """Bytes of the images as they are stored."""
        return sum(shard.num_bytes for shard in self.shards)


def write_split(
    folder: Path, split: SplitName, pictures: Sequence[Picture], classes: list[str], encoding: Encoding, kept: Kept
) -> WrittenSplit:
    """Write the pictures in their order, several shards at a time, but for shards that were kept as they must be.

    All pictures are in `encoding`.
    """
    labels = {label: index for index, label in enumerate(classes)}
    parts = [pictures[part] for part in shared_shards([one.id for one in pictures])]
    shards = [
        _kept(WrittenShard(shard_of(part, labels, encoding), shard_name(split, number), 0, []), part, folder, kept)
        for number, part in enumerate(parts)
    ]

    def written(number: int) -> WrittenShard:
        shard, num_bytes = shards[number], 0

        def images() -> Iterator[StoredImage]:
            nonlocal num_bytes
            for one in parts[number]:
                data = one.stored.read()
                num_bytes += len(data)
                shard.sha256s.append(one.pixels_sha256 if encoding == "raw" else hashlib.sha256(data).hexdigest())
                shape = (one.stored_height_px, one.stored_width_px)
                yield StoredImage(one.id, labels[one.source.label], *shape, data)

        write_shard(folder / shard.name, images(), encoding)
        return shard._replace(num_bytes=num_bytes)

    lacking = [number for number, shard in enumerate(shards) if not shard.sha256s]
    ready = in_order(written, lacking, num_cores())
    made = progress(ready, f"ingest: writing {split}", total=len(lacking), unit=" shards")
    for number, shard in zip(lacking, made, strict=True):
        shards[number] = shard
    digest = split_digest(lines(pictures, labels))
    return WrittenSplit(shards, digest, [_sample(picture, split) for picture in pictures])


def _kept(shard: WrittenShard, pictures: Sequence[Picture], folder: Path, kept: Kept) -> WrittenShard:
    """The shard as it was kept, where it was; else unchanged: of no images."""
    seen = [one.stored.sha256 for one in pictures if isinstance(one.stored, InShard)]
    file = kept.take(shard.holding, folder / shard.name) if len(seen) == len(pictures) else None
    return shard if file is None else shard._replace(num_bytes=file.num_bytes, sha256s=seen)


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
        icc=picture.icc,
    )
