"""One file of a source, wherever it lies: what is wrong with it, its bytes, its sha256."""

import hashlib
from pathlib import Path
from typing import NamedTuple, Protocol

from components.interchange.pixels import BrokenImage

MAX_FILE_BYTES = 1 << 30


class Problem(NamedTuple):
    """Why a file cannot be read: one of a few words, and what was found."""

    reason: str
    detail: str


class SourceFile(Protocol):
    """What ingest asks of a file. `read` raises BrokenImage where the bytes cannot be had."""

    def problem(self) -> Problem | None:
        """What is to be seen without reading."""

    def read(self) -> bytes:
        """All bytes."""


def size_problem(num_bytes: int) -> Problem | None:
    """A file without bytes, or with more than are read."""
    if num_bytes == 0:
        return Problem("empty", "the file has no bytes")
    if num_bytes > MAX_FILE_BYTES:
        return Problem("too large", f"{num_bytes} bytes; at most {MAX_FILE_BYTES} are read")
    return None


class DiskFile(NamedTuple):
    """A file of the file system."""

    path: Path

    def problem(self) -> Problem | None:
        """Missing, not an image (no file), empty or too large."""
        try:
            if not self.path.exists():
                return MISSING.found
            if not self.path.is_file():
                return Problem("not an image", "this is no file")
            return size_problem(self.path.stat().st_size)
        except OSError as error:
            return Problem("unreadable", error.strerror or type(error).__name__)

    def read(self) -> bytes:
        """All bytes."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise BrokenImage("unreadable", error.strerror or type(error).__name__) from None


class BrokenFile(NamedTuple):
    """A file that is known to be unusable."""

    found: Problem

    def problem(self) -> Problem | None:
        """What was found."""
        return self.found

    def read(self) -> bytes:
        """Raises BrokenImage."""
        raise BrokenImage(*self.found)


MISSING = BrokenFile(Problem("missing", "the source names a file that is not there"))


def bytes_digest(data: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(data).hexdigest()
