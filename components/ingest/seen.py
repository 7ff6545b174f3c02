"""Files that an earlier ingest has seen, so that they need not be decoded again: sources.parquet beside its dataset.

A row a file whose stamp is known: URI, size and what changes with its content, then what became of it: a reason why
it is no picture, or what makes the picture. Pixels are taken from the shards. The table says where files lay and when
they were changed, so it is no part of the dataset's content; `made_with` in its metadata is all that decides pixels.
"""

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.decoders import decided_by
from components.ingest.encoding import Choice
from components.ingest.files import Stamp
from components.ingest.kept import Kept, kept_by, metadata_of
from components.ingest.layouts import SourceImage
from components.ingest.picture_rows import FIELDS, cells_of, picture_of
from components.ingest.pictures import Picture
from components.ingest.spec import Reading
from components.interchange.artifact import SOURCES_FILE, to_json
from components.interchange.dataset import Dataset, open_dataset
from components.interchange.errors import BadInput, listed
from components.interchange.ledgers import Quarantined, read_table, write_long_table
from components.interchange.stored_images import StoredImages, read_shards

Entry = Picture | Quarantined
Pixels = tuple[str, int, int]  # sha256, width and height: equal where pictures are.
# What bytes alone decide. What else may be wrong with a file (unreadable, gone, changed meanwhile) may have passed.
LASTING = ("empty", "not an image", "truncated", "too small", "too large", "too elongated", "unsupported")
MADE_WITH = b"graft.made_with"
SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("num_bytes", pa.int64()),
        ("changed", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        *FIELDS,
        ("stored_sha256", pa.string()),  # Of the image in its shard; this and the rest are null where it is in none.
        ("shard", pa.string()),
        ("row", pa.int32()),
    ]
)
NUM_STAMP, NUM_CELLS = len(Stamp._fields), len(FIELDS)


class Place(NamedTuple):
    """Where an image is stored: the sha256 of what is, its shard's name, and the row there."""

    sha256: str
    shard: str
    row: int


NOWHERE = (None, None, None)


class Seen(NamedTuple):
    """What is known of a source's images, by their place in the listing; the files that may be taken over; where the
    dataset is of no use, why.
    """

    entries: Mapping[int, Entry]
    kept: Kept
    why_not: str = ""


class InShard(NamedTuple):
    """An image in a shard of the earlier dataset, and the sha256 of what is stored of it."""

    shards: "_Shards"
    place: Place

    @property
    def sha256(self) -> str:
        """Of what is stored."""
        return self.place.sha256

    def read(self) -> bytes:
        """The bytes; BadInput where they are not those that were written."""
        data = self.shards.read(self.place.shard, self.place.row)
        if data is None or hashlib.sha256(data).hexdigest() != self.sha256:
            raise BadInput(
                "an image in the earlier dataset is not the one that was written: a shard is damaged. Take another "
                "--previous or --reuse, or none."
            )
        return data


class _Shards:
    """The shards of an earlier dataset, each opened when an image of it is asked for: most are not."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._opened: dict[str, StoredImages] = {}
        self._lock = threading.Lock()

    def read(self, shard: str, row: int) -> bytes | None:
        """What is stored in a shard's row; None where it has no such row."""
        with self._lock:
            if shard not in self._opened:
                opened = read_shards([self._dataset.folder / shard], self._dataset.manifest.encoding)
                self._opened[shard] = opened.images
            images = self._opened[shard]
        return images.data(row).tobytes() if row < len(images) else None


def made_with(spec: Reading) -> dict[str, str]:
    """All that decides what becomes of a file's bytes: parameters, versions, code."""
    return {
        "--stored-size-px": str(spec.stored_size_px),
        "--interpolation": spec.interpolation,
        **decided_by(),
    }


def write_seen(
    folder: Path,
    spec: Reading,
    stamps: Sequence[Stamp | None],
    entries: Sequence[Entry],
    stored: Mapping[str, Place],
    kept_files: Iterable[tuple[str, str, int]],
) -> None:
    """Write the table beside a dataset that is complete; `entries` are what became of the files with these stamps.

    `stored` is what is in the shards, by id; `kept_files` are the dataset's as in `kept.metadata_of`. A copy that was
    left out has the place of the picture like it.
    """
    pictures = (one for one in entries if isinstance(one, Picture))
    of_pixels = {_pixels_of(one): stored[one.id] for one in pictures if one.id in stored}

    def rows() -> Iterator[tuple[object, ...]]:
        for stamp, entry in zip(stamps, entries, strict=True):
            if stamp is None:
                continue
            if isinstance(entry, Picture):
                place = of_pixels.get(_pixels_of(entry), NOWHERE)
                yield (*stamp, None, None, *cells_of(entry), *place)
            elif entry.reason in LASTING:
                yield (*stamp, entry.reason, entry.detail, *[None] * NUM_CELLS, *NOWHERE)

    made = {MADE_WITH: to_json(made_with(spec)).encode()}
    write_long_table(folder / SOURCES_FILE, SCHEMA.with_metadata(made | metadata_of(folder, kept_files)), rows())


def seen_before(
    earlier: Path, spec: Reading, choice: Choice, images: Sequence[SourceImage], stamps: Sequence[Stamp | None]
) -> Seen:
    """What an earlier dataset knows of these images; their pixels count for the choice.

    Nothing where it was made otherwise, or stored as JPEG what may now become raw. BadInput where there is no dataset.
    """
    dataset = open_dataset(earlier)
    try:
        rows = read_table(earlier / SOURCES_FILE, SCHEMA)
        other = _differences(earlier, made_with(spec))
    except BadInput as error:
        return Seen({}, Kept(), str(error))
    if other:
        return Seen({}, Kept(), f"it was made otherwise: {listed(other)} changed")
    by_stamp = {row[:NUM_STAMP]: row[NUM_STAMP:] for row in rows}
    shards, encoding = _Shards(dataset), dataset.manifest.encoding
    found: dict[int, Entry] = {}
    for number, (image, stamp) in enumerate(zip(images, stamps, strict=True)):
        if stamp is None or stamp not in by_stamp:
            continue
        reason, detail, *cells, sha256, shard, row = by_stamp[stamp]
        if reason is not None:
            found[number] = Quarantined(image.path, reason, detail)
        elif sha256 is not None:
            found[number] = picture_of(cells, image, InShard(shards, Place(sha256, shard, row)), encoding)
    raw_bytes = 3 * sum(one.sums.num_pixels for one in found.values() if isinstance(one, Picture))
    if dataset.manifest.encoding == "jpeg" and choice.encoding_at(raw_bytes) == "raw":
        return Seen({}, Kept(), "it holds JPEGs, and raw pixels may be what is wanted now")
    choice.with_another(raw_bytes)
    return Seen(found, kept_by(earlier))


def _differences(folder: Path, now: Mapping[str, str]) -> list[str]:
    with (folder / SOURCES_FILE).open("rb") as stream:
        was = json.loads((pq.read_schema(stream).metadata or {}).get(MADE_WITH, b"{}"))
    return sorted(name for name in now.keys() | was.keys() if now.get(name) != was.get(name))


def _pixels_of(picture: Picture) -> Pixels:
    return picture.pixels_sha256, picture.stored_width_px, picture.stored_height_px
