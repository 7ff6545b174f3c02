"""Some test files as they came, for golden samples and end-to-end latency."""

from collections.abc import Iterable
from pathlib import Path

from components.ingest.files import bytes_digest
from components.ingest.pictures import Picture
from components.interchange.pixels import BrokenImage


def copy_originals(folder: Path, test: Iterable[Picture], most: int) -> int:
    """Copy up to `most` files, untouched, and return how many. The first by id are a choice by hash.

    A file that has changed since it was decoded is passed over: its bytes would not be those of its id.
    """
    folder.mkdir()
    copied = 0
    for picture in test:
        if copied == most:
            break
        try:
            data = picture.source.file.read()
        except BrokenImage:
            continue
        if bytes_digest(data) == picture.id:
            (folder / f"{picture.id}{Path(picture.source.path).suffix}").write_bytes(data)
            copied += 1
    return copied
