"""Some test files as they came, for golden samples and end-to-end latency."""

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from components.ingest.files import bytes_digest
from components.ingest.kept import Kept, original_of
from components.ingest.parallel import in_order
from components.ingest.pictures import Picture
from components.interchange.cores import num_cores
from components.interchange.image_files import BrokenImage

SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")  # Any other may make a name that no disk takes.


def copy_originals(folder: Path, test: Iterable[Picture], most: int, kept: Kept) -> list[str]:
    """Copy up to `most` files, untouched, and return their names. The first by id are a choice by hash.

    A file that has changed since it was decoded is passed over: its bytes would not be those of its id.
    """
    folder.mkdir()
    copied: list[str] = []

    def copy(picture: Picture) -> str | None:
        suffix = Path(picture.source.path).suffix
        name = picture.id + (suffix if SUFFIX.fullmatch(suffix) else "")
        there = kept.take(original_of(name), folder / name) or _copied(picture, folder / name)
        return name if there else None

    candidates = iter(test)
    while some := list(islice(candidates, most - len(copied))):
        copied += filter(None, in_order(copy, some, num_cores()))
    return copied


def _copied(picture: Picture, to: Path) -> bool:
    try:
        data = picture.source.file.read()
    except BrokenImage:
        return False
    if bytes_digest(data) != picture.id:
        return False
    to.write_bytes(data)
    return True
