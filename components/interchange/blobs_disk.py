"""Blobs on a disk: a file a key, under a folder that is made with the first write."""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from components.interchange.errors import BadInput

REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
REFUSALS |= {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}


@dataclass(frozen=True)
class DiskPlace:
    """The folder `root`. `root/.partial` holds files being written, `root/.lock` keeps swaps apart."""

    root: Path

    def get_with_tag(self, key: str) -> tuple[bytes, str] | None:
        """The bytes and their sha256, or None."""
        with self._readable(key):
            if not (self.root / key).is_file():
                return None
            data = (self.root / key).read_bytes()
        return data, hashlib.sha256(data).hexdigest()

    def put(self, key: str, data: bytes) -> None:
        """Write atomically and durably."""
        with self._readable(key), self._replacing(key) as stream:
            stream.write(data)

    def put_file(self, key: str, path: Path) -> None:
        """Copy a file in, atomically and durably."""
        with path.open("rb") as source, self._readable(key), self._replacing(key) as stream:
            shutil.copyfileobj(source, stream, 1 << 20)

    def get_file(self, key: str, path: Path) -> bool:
        """Copy a file out; False where there is none."""
        with self._readable(key):
            if not (self.root / key).is_file():
                return False
            shutil.copyfile(self.root / key, path)
        return True

    def sizes(self, prefix: str) -> dict[str, int]:
        """Keys that start with the string `prefix`, and their sizes in bytes."""
        with self._readable(prefix):
            start = self.root / prefix.rpartition("/")[0]
            keys = {path.relative_to(self.root).as_posix(): path for path in start.rglob("*")}
            chosen = {key: path for key, path in keys.items() if key.startswith(prefix) and not key.startswith(".")}
            return {key: path.stat().st_size for key, path in chosen.items() if path.is_file()}

    def compare_and_swap(self, key: str, data: bytes, expected_tag: str | None) -> bool:
        """Compare and replace under a lock of the operating system, which ends with its process."""
        with self._readable(key):
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                found = self.get_with_tag(key)
                if (found and found[1]) != expected_tag:
                    return False
                self.put(key, data)
                return True

    @contextmanager
    def _replacing(self, key: str) -> Iterator[BinaryIO]:
        """A stream whose bytes become the key's when it closes well, and vanish when it does not."""
        target = self.root / key
        partial = self.root / ".partial" / uuid.uuid4().hex
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.parent.mkdir(exist_ok=True)
        try:
            with partial.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # The new name too must survive a power cut.
        finally:
            os.close(folder)

    @contextmanager
    def _readable(self, key: str) -> Iterator[None]:
        """A refusal of the disk as one sentence."""
        try:
            yield
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            raise BadInput(f"the store {self.root} refuses {key or 'to be listed'}: {error.strerror}.") from None
