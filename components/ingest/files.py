"""One file of a source, wherever it lies: what is wrong with it, its bytes, its sha256."""

import errno
import hashlib
import os
import time
from stat import S_ISREG
from typing import NamedTuple, Protocol

from components.interchange.image_files import BrokenImage

MAX_FILE_BYTES = 1 << 30
JUST_NOW_S = 2  # As coarse as the times of any file system are.
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Problem(NamedTuple):
    """Why a file cannot be read: one of a few words, and what was found."""

    reason: str
    detail: str


class Stamp(NamedTuple):
    """What tells that a file is still the one that was read: its URI, size, and what changes with its content."""

    uri: str
    num_bytes: int
    changed: str


class SourceFile(Protocol):
    """What ingest asks of a file. `read` raises BrokenImage where the bytes cannot be had."""

    def stamp(self) -> Stamp | None:
        """Taken before the file is read; None where nothing tells a change."""

    @property
    def num_bytes(self) -> int:
        """How many `read` will give, as far as that is known before."""

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
    """A file of the file system, by its absolute path; a text, for a Path is a kilobyte, and there may be a million."""

    path: str

    def stamp(self) -> Stamp | None:
        """By the times of its last change. None within JUST_NOW_S of it: another might leave the same times.

        None, too, of a name that is no UTF-8, which a table cannot hold.
        """
        try:
            self.path.encode()
            found = os.stat(self.path)  # noqa: PTH116
        except (OSError, ValueError):  # ValueError: a name that no file can have.
            return None
        if not S_ISREG(found.st_mode) or time.time_ns() - found.st_mtime_ns < JUST_NOW_S * 10**9:
            return None
        return Stamp(self.path, found.st_size, f"{found.st_mtime_ns} {found.st_ctime_ns}")

    @property
    def num_bytes(self) -> int:
        """The file's size; 0 where there is none."""
        try:
            return os.stat(self.path).st_size  # noqa: PTH116
        except (OSError, ValueError):
            return 0

    def problem(self) -> Problem | None:
        """Missing, not an image (no file), empty or too large."""
        try:
            found = os.stat(self.path)  # noqa: PTH116
        except ValueError:
            return MISSING.found
        except OSError as error:
            if error.errno in NOT_THERE:
                return WITH_BACKSLASHES if "\\" in self.path else MISSING.found
            return Problem("unreadable", error.strerror or type(error).__name__)
        return size_problem(found.st_size) if S_ISREG(found.st_mode) else Problem("not an image", "this is no file")

    def read(self) -> bytes:
        """All bytes."""
        try:
            with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123
                return file.readall()
        except OSError as error:
            raise BrokenImage("unreadable", error.strerror or type(error).__name__) from None


class BrokenFile(NamedTuple):
    """A file that is known to be unusable."""

    found: Problem

    def stamp(self) -> None:
        """There is no file."""

    @property
    def num_bytes(self) -> int:
        """None."""
        return 0

    def problem(self) -> Problem | None:
        """What was found."""
        return self.found

    def read(self) -> bytes:
        """Raises BrokenImage."""
        raise BrokenImage(*self.found)


WITH_BACKSLASHES = Problem(
    "missing", "the source names a file that is not there: expected / between folders, found backslashes"
)
MISSING = BrokenFile(Problem("missing", "the source names a file that is not there"))


def bytes_digest(data: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(data).hexdigest()
