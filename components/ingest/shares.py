"""A share artifact: what ingest has read of some of a source's files, to be joined with the other shares.

    share.json  images.parquet  pixels-00000.bin …

images.parquet has a row for each of the share's files in the order of the listing: what makes a picture, or a reason
why it is none. A picture lies at `offset` of the file `pixels`: height * width * 3 bytes (RGB) where `encoding` is raw,
a JPEG file of `num_bytes` where it is jpeg. Version 2 has an encoding; a share of version 1 is to be made again.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from components.ingest.decoders import decided_by
from components.ingest.files import bytes_digest
from components.ingest.layouts import Listing, SourceImage
from components.ingest.picture_rows import FIELDS, cells_of, picture_of
from components.ingest.pictures import Picture
from components.ingest.spec import Reading
from components.ingest.spool import Held, StoredBytes
from components.interchange.artifact import read_card_as, to_json, write_card
from components.interchange.errors import BadInput
from components.interchange.ledgers import Quarantined, read_table, write_table
from components.interchange.step import given_parameters

IMAGES_FILE = "images.parquet"
BYTES_PER_SHARD = 1 << 30
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("reason", pa.string()),  # Of a file that is no picture; all columns behind `detail` are then null.
        ("detail", pa.string()),
        *FIELDS,
        ("pixels", pa.string()),
        ("offset", pa.int64()),
        ("num_bytes", pa.int64()),
        ("encoding", pa.string()),
        ("stored_sha256", pa.string()),
    ]
)


class ShareCard(BaseModel):
    """What a share is: the `number`-th `of` so many. `listing` is the digest of the whole source's listing."""

    model_config = ConfigDict(extra="ignore")

    number: int
    of: int
    reading: dict[str, str | int]
    decided_by: dict[str, str]
    listing: str
    listed: int
    images: int


class Share(NamedTuple):
    """A share, opened."""

    folder: Path
    card: ShareCard

    @property
    def shown(self) -> str:
        """The share, in messages."""
        return f"{self.card.number}/{self.card.of} ({self.folder})"


class Passing:
    """A shelf for pixels that are taken from it at once."""

    def put(self, data: bytes) -> StoredBytes:
        """The bytes, in memory."""
        return Held(data)


class _InShare(NamedTuple):
    """Pixels in a share's file."""

    path: Path
    offset: int
    num_bytes: int
    sha256: str

    def read(self) -> bytes:
        """The bytes; BadInput where they are not those that were written."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.num_bytes)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise BadInput(f"{self.path} is damaged at byte {self.offset}. Was the share copied whole?")
        return data


def share_of(path: str, of: int) -> int:
    """Which of so many shares a path belongs to, from 1: by its hash, and so to exactly one."""
    return int.from_bytes(hashlib.sha256(f"graft.share/1 {path}".encode()).digest()[:8]) % of + 1


def listing_digest(listing: Listing) -> str:
    """sha256 over everything that a listing says of its files."""
    lines = hashlib.sha256()
    for image in listing.images:
        lines.update(to_json([image.path, image.label, image.split, image.group, image.attributes]).encode())
    for entry in sorted(listing.unusable):
        lines.update(to_json(list(entry)).encode())
    return lines.hexdigest()


def write_share(
    folder: Path, spec: Reading, number: int, of: int, listing: Listing, entries: Iterable[Picture | Quarantined]
) -> Counter[str]:
    """Write the share that has read `entries` of a listing, one at a time, in any order; how many have which reason."""
    rows: list[tuple[object, ...]] = []
    with _PixelFiles(folder) as files:
        for entry in entries:
            if isinstance(entry, Quarantined):
                rows.append((*entry, *[None] * (len(SCHEMA) - len(entry))))
            else:
                data = entry.stored.read()
                sha256 = entry.pixels_sha256 if entry.encoding == "raw" else bytes_digest(data)
                stored = (*files.write(data), len(data), entry.encoding, sha256)
                rows.append((entry.source.path, None, None, *cells_of(entry), *stored))
    write_table(folder / IMAGES_FILE, SCHEMA, sorted(rows, key=lambda row: str(row[0])))
    names = {name: value for name, value in given_parameters(spec).items() if name in Reading.model_fields}
    card = ShareCard(
        number=number,
        of=of,
        reading=names,
        decided_by=decided_by(),
        listing=listing_digest(listing),
        listed=len(listing.images),
        images=len(rows),
    )
    write_card(folder, "share", card.model_dump(mode="json"))
    return Counter(str(row[1]) for row in rows if row[1] is not None)


def open_share(folder: Path) -> Share:
    """Open a share; BadInput where it is missing, damaged or of a newer format."""
    return Share(folder, read_card_as(ShareCard, folder, "share"))


def read_entries(share: Share, sources: list[SourceImage]) -> list[Picture | Quarantined]:
    """What became of each file of a share; `sources` are its files in the order of the listing.

    BadInput where the share holds others.
    """
    rows = read_table(share.folder / IMAGES_FILE, SCHEMA)
    if [row[0] for row in rows] != [source.path for source in sources]:
        raise BadInput(f"share {share.shown} does not hold the files that belong to it. Make it again.")
    return [_entry(share.folder, row, source) for row, source in zip(rows, sources, strict=True)]


def _entry(folder: Path, row: Sequence[Any], source: SourceImage) -> Picture | Quarantined:
    path, reason, detail, *cells = row
    if reason is not None:
        return Quarantined(path, reason, detail)
    *cells, name, offset, num_bytes, encoding, sha256 = cells
    return picture_of(cells, source, _InShare(folder / name, offset, num_bytes, sha256), encoding)


class _PixelFiles:
    """Files of about BYTES_PER_SHARD, written one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._names: list[str] = []

    def __enter__(self) -> "_PixelFiles":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, data: bytes) -> tuple[str, int]:
        """Append some bytes; the file's name and where in it they begin."""
        if self._file is None or self._file.tell() >= BYTES_PER_SHARD:
            if self._file is not None:
                self._file.close()
            self._names.append(f"pixels-{len(self._names):05d}.bin")
            self._file = (self._folder / self._names[-1]).open("wb")
        offset = self._file.tell()
        self._file.write(data)
        return self._names[-1], offset
