"""Files that an earlier ingest has seen, so that they need not be decoded again: sources.parquet beside its dataset.

A row a file whose stamp is known: URI, size and what changes with its content, then what became of it: a reason why
it is no picture, or what makes the picture. Pixels are taken from the shards. The table says where files lay and when
they were changed, so it is no part of the dataset's content; `made_with` in its metadata is all that decides pixels.
"""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

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
from components.interchange.dataset import SPLITS, Dataset, open_dataset
from components.interchange.errors import BadInput, listed
from components.interchange.ledgers import Quarantined, read_table, write_table
from components.interchange.stored_images import StoredImages

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
        ("stored_sha256", pa.string()),  # Of the image in its shard; null where its pixels are in none.
    ]
)
NUM_STAMP, NUM_CELLS = len(Stamp._fields), len(FIELDS)


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
    pixels: Pixels
    sha256: str

    def read(self) -> bytes:
        """The bytes; BadInput where they are not those that were written."""
        data = self.shards.read(self.pixels)
        if data is None or hashlib.sha256(data).hexdigest() != self.sha256:
            raise BadInput(
                "an image in the earlier dataset is not the one that was written: a shard is damaged. Take another "
                "--previous or --reuse, or none."
            )
        return data


class _Shards:
    """The shards of an earlier dataset, opened when the first image is asked for: often none is."""

    def __init__(self, dataset: Dataset, pixels_of_id: Mapping[str, Pixels]) -> None:
        self._dataset, self._pixels_of_id = dataset, pixels_of_id
        self._lock = threading.Lock()

    def read(self, pixels: Pixels) -> bytes | None:
        """What is stored of a picture with these pixels. A copy has that of the picture like it."""
        with self._lock:
            places = self._places
        if pixels not in places:
            return None
        images, row = places[pixels]
        return images.data(row).tobytes()

    @cached_property
    def _places(self) -> dict[Pixels, tuple[StoredImages, int]]:
        splits = [self._dataset.split(name) for name in SPLITS]
        return {
            self._pixels_of_id[image_id]: (split.images, row)
            for split in splits
            for row, image_id in enumerate(split.ids)
            if image_id in self._pixels_of_id
        }


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
    stored: Mapping[str, str],
    kept_files: Iterable[tuple[str, str, int]],
) -> None:
    """Write the table beside a dataset that is complete; `entries` are what became of the files with these stamps.

    `stored` is the sha256 of what is in the shards, by id; `kept_files` are the dataset's as in `kept.metadata_of`.
    """
    pictures = (one for one in entries if isinstance(one, Picture))
    of_pixels = {_pixels_of(one): stored[one.id] for one in pictures if one.id in stored}
    rows: list[tuple[object, ...]] = []
    for stamp, entry in zip(stamps, entries, strict=True):
        if stamp is None:
            continue
        if isinstance(entry, Picture):
            rows.append((*stamp, None, None, *cells_of(entry), of_pixels.get(_pixels_of(entry))))
        elif entry.reason in LASTING:
            rows.append((*stamp, entry.reason, entry.detail, *[None] * (NUM_CELLS + 1)))
    made = {MADE_WITH: to_json(made_with(spec)).encode()}
    write_table(folder / SOURCES_FILE, SCHEMA.with_metadata(made | metadata_of(folder, kept_files)), rows)


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
    by_stamp = {row[:NUM_STAMP]: row[NUM_STAMP + 2 :] for row in rows}
    reasons = {row[:NUM_STAMP]: (row[NUM_STAMP], row[NUM_STAMP + 1]) for row in rows if row[NUM_STAMP] is not None}
    pixels_of_id = {cells[0]: _pixels_in(cells) for stamp, cells in by_stamp.items() if stamp not in reasons}
    shards = _Shards(dataset, pixels_of_id)
    found: dict[int, Entry] = {}
    for number, (image, stamp) in enumerate(zip(images, stamps, strict=True)):
        if stamp in reasons:
            found[number] = Quarantined(image.path, *reasons[stamp])
        elif stamp in by_stamp:
            *cells, sha256 = by_stamp[stamp]
            if sha256 is not None:
                stored = InShard(shards, _pixels_in(cells), sha256)
                found[number] = picture_of(cells, image, stored, dataset.manifest.encoding)
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


def _pixels_in(cells: Sequence[Any]) -> Pixels:
    width, height, sha256 = cells[6:9]
    return sha256, width, height
