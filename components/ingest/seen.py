"""Files that an earlier ingest has seen, so that they need not be decoded again: sources.parquet beside its dataset.

A row a file whose stamp is known: URI, size and what changes with its content, then what became of it: a reason why
it is no picture, or what makes the picture. Pixels are taken from the shards. The table says where files lay and when
they were changed, so it is no part of the dataset's content; `made_with` in its metadata is all that decides pixels.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.decoders import decided_by
from components.ingest.encoding import Choice
from components.ingest.files import Stamp
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
    """What is known of a source's images, by their place in the listing; where it is of no use, why."""

    entries: Mapping[int, Entry]
    why_not: str = ""


class _InShard(NamedTuple):
    """An image in a shard of the earlier dataset."""

    images: StoredImages
    row: int
    sha256: str

    def read(self) -> bytes:
        data = self.images.data(self.row).tobytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise BadInput(
                "an image in the earlier dataset is not the one that was written: a shard is damaged. Take another "
                "--previous or --reuse, or none."
            )
        return data


def made_with(spec: Reading) -> dict[str, str]:
    """All that decides what becomes of a file's bytes: parameters, versions, code."""
    return {
        "--stored-size-px": str(spec.stored_size_px),
        "--interpolation": spec.interpolation,
        **decided_by(),
    }


def write_seen(folder: Path, spec: Reading, stamps: Sequence[Stamp | None], entries: Sequence[Entry]) -> None:
    """Write the table beside a dataset that is complete; `entries` are what became of the files with these stamps."""
    dataset = open_dataset(folder)
    places = _by_pixels(dataset, ((one.id, _pixels_of(one)) for one in entries if isinstance(one, Picture)))
    rows: list[tuple[object, ...]] = []
    for stamp, entry in zip(stamps, entries, strict=True):
        if stamp is None:
            continue
        if isinstance(entry, Picture):
            place = places.get(_pixels_of(entry))
            rows.append((*stamp, None, None, *cells_of(entry), place and _sha256(dataset, entry, *place)))
        elif entry.reason in LASTING:
            rows.append((*stamp, entry.reason, entry.detail, *[None] * (NUM_CELLS + 1)))
    schema = SCHEMA.with_metadata({MADE_WITH: to_json(made_with(spec)).encode()})
    write_table(folder / SOURCES_FILE, schema, rows)


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
        return Seen({}, str(error))
    if other:
        return Seen({}, f"it was made otherwise: {listed(other)} changed")
    by_stamp = {row[:NUM_STAMP]: row[NUM_STAMP + 2 :] for row in rows}
    reasons = {row[:NUM_STAMP]: (row[NUM_STAMP], row[NUM_STAMP + 1]) for row in rows if row[NUM_STAMP] is not None}
    pictures = [cells for stamp, cells in by_stamp.items() if stamp not in reasons]
    places = _by_pixels(dataset, ((cells[0], _pixels_in(cells)) for cells in pictures))
    found: dict[int, Entry] = {}
    for number, (image, stamp) in enumerate(zip(images, stamps, strict=True)):
        if stamp in reasons:
            found[number] = Quarantined(image.path, *reasons[stamp])
        elif stamp in by_stamp:
            *cells, sha256 = by_stamp[stamp]
            place = places.get(_pixels_in(cells))
            if place is not None and sha256 is not None:
                found[number] = picture_of(cells, image, _InShard(*place, sha256), dataset.manifest.encoding)
    raw_bytes = 3 * sum(one.sums.num_pixels for one in found.values() if isinstance(one, Picture))
    if dataset.manifest.encoding == "jpeg" and choice.encoding_at(raw_bytes) == "raw":
        return Seen({}, "it holds JPEGs, and raw pixels may be what is wanted now")
    choice.with_another(raw_bytes)
    return Seen(found)


def _differences(folder: Path, now: Mapping[str, str]) -> list[str]:
    with (folder / SOURCES_FILE).open("rb") as stream:
        was = json.loads((pq.read_schema(stream).metadata or {}).get(MADE_WITH, b"{}"))
    return sorted(name for name in now.keys() | was.keys() if now.get(name) != was.get(name))


def _by_pixels(dataset: Dataset, pictures: Iterable[tuple[str, Pixels]]) -> dict[Pixels, tuple[StoredImages, int]]:
    """Where pictures' pixels are stored. A copy has no place of its own; it has that of the picture like it."""
    splits = [dataset.split(name) for name in SPLITS]
    of_id = {image_id: (split.images, row) for split in splits for row, image_id in enumerate(split.ids)}
    return {pixels: of_id[image_id] for image_id, pixels in pictures if image_id in of_id}


def _pixels_of(picture: Picture) -> Pixels:
    return picture.pixels_sha256, picture.stored_width_px, picture.stored_height_px


def _pixels_in(cells: Sequence[Any]) -> Pixels:
    width, height, sha256 = cells[6:9]
    return sha256, width, height


def _sha256(dataset: Dataset, picture: Picture, images: StoredImages, row: int) -> str:
    if dataset.manifest.encoding == "raw":
        return picture.pixels_sha256
    return hashlib.sha256(images.data(row).tobytes()).hexdigest()
