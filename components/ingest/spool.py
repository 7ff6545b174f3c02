"""Bytes put aside on the disk between decoding and writing: an image's split is known only when all have been seen."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

HELD_BYTES = 64 << 20


class StoredBytes(Protocol):
    """An image as the shards hold it, kept somewhere."""

    def read(self) -> bytes:
        """All bytes."""


class Shelf(Protocol):
    """Where threads put bytes."""

    def put(self, data: bytes) -> StoredBytes:
        """Keep some bytes; what is returned reads them again."""


class Spool:
    """What threads put aside: in memory up to HELD_BYTES, then in a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._held_bytes = 0
        self._end = 0
        self._lock = threading.Lock()

    def put(self, data: bytes) -> StoredBytes:
        """Keep some bytes; what is returned reads them again."""
        with self._lock:
            if self._held_bytes + len(data) <= HELD_BYTES:
                self._held_bytes += len(data)
                return Held(data)
            offset, self._end = self._end, self._end + len(data)
        written = 0
        while written < len(data):
            written += os.pwrite(self._file.fileno(), data[written:] if written else data, offset + written)
        return _Spooled(self, offset, len(data))

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """Bytes that were put."""
        return os.pread(self._file.fileno(), num_bytes, offset)


class Held(NamedTuple):
    """Bytes in memory."""

    data: bytes

    def read(self) -> bytes:
        return self.data


class _Spooled(NamedTuple):
    spool: Spool
    offset: int
    num_bytes: int

    def read(self) -> bytes:
        return self.spool.read_at(self.offset, self.num_bytes)


@contextmanager
def open_spool(folder: Path) -> Iterator[Spool]:
    """A spool on the file system of `folder`, without a name: the system removes it with the process at the latest."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        yield Spool(file)
