"""Bytes of a file from any offset on, plain or compressed by gzip; no handle stays open and threads may share it."""

import bisect
import io
import zlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol

CHUNK_BYTES = 1 << 14
MAX_RESTARTS = 2048  # About 50 kB of memory each.
RECENT = 8  # As many threads can follow each other through a file without starting over.
AHEAD_BYTES = 1 << 18
GZIP_WINDOW_BITS = 31


class RandomAccess(Protocol):
    """Bytes of known number."""

    @property
    def num_bytes(self) -> int:
        """How many there are."""

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """The bytes from an offset on; fewer at the end."""


class PlainFile:
    """A file as it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.num_bytes = path.stat().st_size

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """The bytes from an offset on; fewer at the end."""
        with self._path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(num_bytes)


class _Restart(NamedTuple):
    """The decompressor's state before the compressed byte `packed`, when `plain` bytes had come out."""

    plain: int
    packed: int
    decompressor: Any  # zlib gives its class no public name.


class GzipFile:
    """The content of a .gz file. One pass checks all of it and keeps states of the decompressor to restart from.

    ValueError, EOFError or zlib.error where the file is damaged or ends early.
    """

    def __init__(self, path: Path, spacing_bytes: int = 1 << 20) -> None:
        self._path = path
        self._restarts: list[_Restart] = []
        self._recent: tuple[_Restart, ...] = ()
        packed = plain = 0
        decompressor = zlib.decompressobj(GZIP_WINDOW_BITS)
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                if not self._restarts or plain - self._restarts[-1].plain >= spacing_bytes:
                    self._restarts.append(_Restart(plain, packed, decompressor.copy()))
                if len(self._restarts) > MAX_RESTARTS:
                    self._restarts, spacing_bytes = self._restarts[::2], 2 * spacing_bytes
                pieces, decompressor = _inflated(decompressor, chunk)
                plain += sum(map(len, pieces))
                packed += len(chunk)
        if not decompressor.eof:
            raise EOFError("the compressed data end early")
        self.num_bytes = plain

    def read_at(self, offset: int, num_bytes: int) -> bytes:
        """The bytes from an offset on; fewer at the end."""
        before = self._nearest(offset)
        decompressor, position = before.decompressor.copy(), before.plain
        found: list[bytes] = []
        with self._path.open("rb") as stream:
            stream.seek(before.packed)
            while position < offset + num_bytes and (chunk := stream.read(CHUNK_BYTES)):
                before = _Restart(position, stream.tell() - len(chunk), decompressor.copy())
                pieces, decompressor = _inflated(decompressor, chunk)
                for piece in pieces:
                    found.append(piece[max(0, offset - position) : max(0, offset + num_bytes - position)])
                    position += len(piece)
        self._recent = (*self._recent[1 - RECENT :], before)  # What another thread adds meanwhile may be lost.
        return b"".join(found)

    def _nearest(self, offset: int) -> _Restart:
        """The last state before the byte at an offset, of those that were kept and of where reads have come to."""
        kept = self._restarts[max(0, bisect.bisect_right(self._restarts, offset, key=lambda one: one.plain) - 1)]
        return max((kept, *(one for one in self._recent if one.plain <= offset)), key=lambda one: one.plain)


def _inflated(decompressor: Any, chunk: bytes) -> tuple[list[bytes], Any]:
    """What comes out of a chunk, across the ends of gzip members; zeros after the last one are padding."""
    pieces: list[bytes] = []
    while chunk:
        if decompressor.eof:
            if not chunk.strip(b"\0"):
                break
            decompressor = zlib.decompressobj(GZIP_WINDOW_BITS)
        pieces.append(decompressor.decompress(chunk))
        chunk = decompressor.unused_data
    return pieces, decompressor


class SeekableBytes(io.RawIOBase):
    """Random access as a stream, which the parsers of archives want; it reads a little ahead.

    ValueError where more than `most_bytes` are wanted at a time.
    """

    def __init__(self, content: RandomAccess, most_bytes: int | None = None) -> None:
        super().__init__()
        self._content, self._most_bytes = content, most_bytes
        self._position = 0
        self._ahead: tuple[int, bytes] = (0, b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the start, from here or from the end."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.num_bytes}[whence]
        if origin + offset < 0:
            raise OSError(f"offset {origin + offset} lies before the first byte")
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, or all that are left."""
        left = max(0, self._content.num_bytes - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if self._most_bytes is not None and wanted > self._most_bytes:
            raise ValueError(f"a header of {wanted:,} bytes, expected at most {self._most_bytes:,}")
        start, ahead = self._ahead
        if not start <= self._position <= self._position + wanted <= start + len(ahead):
            start, ahead = self._position, self._content.read_at(self._position, max(wanted, AHEAD_BYTES))
            self._ahead = (start, ahead) if len(ahead) <= AHEAD_BYTES else (0, b"")
        found = ahead[self._position - start : self._position - start + wanted]
        self._position += len(found)
        return found
