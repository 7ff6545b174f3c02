"""Blobs on a disk: a file a key, under a folder that is made with the first write."""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from components.interchange.artifact import file_digest
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

    def put_files(self, files: Mapping[str, Path]) -> Iterator[str]:
        """`put_file` of several, by key; yields each key when it is done."""
        for key, path in files.items():
            self.put_file(key, path)
            yield key

    def get_files(self, files: Mapping[str, Path]) -> Iterator[str]:
        """`get_file` of several, by key; yields each key when it is done, found or not."""
        for key, path in files.items():
            self.get_file(key, path)
            yield key

    def sha256(self, key: str) -> str | None:
        """sha256 of a key's bytes, or None."""
        with self._readable(key):
            return file_digest(self.root / key) if (self.root / key).is_file() else None

    def entries(self, prefix: str) -> dict[str, tuple[int, datetime]]:
        """Keys that start with the string `prefix`: their sizes in bytes, and when they were written (UTC)."""
        with self._readable(prefix):
            start = self.root / prefix.rpartition("/")[0]
            keys = {path.relative_to(self.root).as_posix(): path for path in start.rglob("*")}
            chosen = {key: path for key, path in keys.items() if key.startswith(prefix) and not key.startswith(".")}
            found = {key: path.stat() for key, path in chosen.items() if path.is_file()}
            return {key: (one.st_size, datetime.fromtimestamp(one.st_mtime, UTC)) for key, one in found.items()}

    def children(self, folder: str) -> list[str]:
        """Names of the folders right under `folder`."""
        with self._readable(folder):
            try:
                return [entry.name for entry in os.scandir(self.root / folder) if entry.is_dir()]
            except FileNotFoundError:
                return []

    def delete(self, keys: Collection[str]) -> None:
        """Remove keys, and folders that this leaves empty; those that are not there are no error."""
        for key in keys:
            with self._readable(key):
                (self.root / key).unlink(missing_ok=True)
                for folder in (self.root / key).parents:
                    if folder == self.root or not folder.is_dir() or any(folder.iterdir()):
                        break
                    folder.rmdir()

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
