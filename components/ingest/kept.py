"""Whole files of an earlier dataset that another ingest takes over, by hard link, where nobody has touched them since.

`sources.parquet` beside a dataset names them: by what they hold, with the size and the time of their last change. They
need then be neither read nor written. A copy from elsewhere has other times, and is read and checked image by image.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from components.ingest.pictures import Picture
from components.ingest.statistics import split_digest
from components.interchange.artifact import SOURCES_FILE, to_json
from components.interchange.stored_images import Encoding

KEPT_FILES = b"graft.kept_files"
WRITER = "pyarrow"  # Another version might write the same rows as other bytes.


class KeptFile(NamedTuple):
    """A file of a dataset: its name there, size and time of change, and of how many bytes its images are."""

    name: str
    file_bytes: int
    mtime_ns: int
    num_bytes: int


class Kept(NamedTuple):
    """The files of an earlier dataset by what they hold; none where there is no such dataset."""

    folder: Path = Path()
    files: Mapping[str, KeptFile] = {}

    def take(self, holding: str, to: Path) -> KeptFile | None:
        """Make `to` the file that holds this, and return what it was; None where there is none that can be trusted."""
        file = self.files.get(holding)
        if file is None:
            return None
        place = (self.folder / file.name).resolve()
        if not place.is_relative_to(self.folder.resolve()):  # By the word, or a link, of who may write to the store.
            return None
        try:
            found = place.stat()
            if (found.st_size, found.st_mtime_ns) != (file.file_bytes, file.mtime_ns):
                return None
        except OSError:
            return None
        try:
            os.link(place, to)
        except OSError:  # Another file system, one without links, or a folder of somebody else's.
            shutil.copyfile(place, to)
        return file


def shard_of(pictures: Sequence[Picture], labels: Mapping[str, int], encoding: Encoding) -> str:
    """What a shard with these pictures holds, in a word."""
    return f"{encoding} {split_digest(lines(pictures, labels))}"


def original_of(name: str) -> str:
    """What an original holds: its name begins with its sha256."""
    return f"original {name}"


def lines(pictures: Iterable[Picture], labels: Mapping[str, int]) -> Iterable[tuple[str, int, int, int, str]]:
    """What `split_digest` takes."""
    return (
        (one.id, labels[one.source.label], one.stored_height_px, one.stored_width_px, one.pixels_sha256)
        for one in pictures
    )


def metadata_of(folder: Path, files: Iterable[tuple[str, str, int]]) -> dict[bytes, bytes]:
    """For the table: what is held, in which file, and of how many bytes the images in it are."""
    found = {}
    for holding, name, num_bytes in files:
        of_file = (folder / name).stat()
        found[holding] = KeptFile(name, of_file.st_size, of_file.st_mtime_ns, num_bytes)
    return {KEPT_FILES: to_json({"writer": version(WRITER), "files": found}).encode()}


def kept_by(folder: Path) -> Kept:
    """What can be taken from a dataset whose table is there."""
    with (folder / SOURCES_FILE).open("rb") as stream:
        said = json.loads((pq.read_schema(stream).metadata or {}).get(KEPT_FILES, b"{}"))
    if said.get("writer") != version(WRITER):
        return Kept()
    return Kept(folder, {holding: KeptFile(*file) for holding, file in said["files"].items()})
