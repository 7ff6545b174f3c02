"""Artifacts in a local folder: a disk store's own, or what was fetched from a store on S3.

<digest>/            an artifact's files (a verdict: one file of that name)
<digest>.files.json  their sha256, sizes and modification times; written last, so that what lacks it does not count
"""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.interchange.artifact import content_files, file_digest, to_json
from components.interchange.blobs import MANIFEST_SUFFIX, FolderManifest
from components.interchange.blobs_disk import DiskPlace
from components.interchange.errors import BadInput

CACHE, CACHE_GIB = "GRAFT_CACHE", "GRAFT_CACHE_GIB"
DEFAULT_CACHE_GIB = 20.0
GIB = 1 << 30


@dataclass(frozen=True)
class Shelf:
    """The artifacts in `folder`."""

    folder: Path

    def place(self, digest: str) -> Path:
        """Where an artifact lies: a folder, or the one file of a verdict."""
        place = self.folder / digest
        return place / "verdict" if (place / "verdict").is_file() else place

    def faults(self, digest: str, every_byte: bool = False) -> list[str] | None:
        """What is wrong with an artifact's files, in words; None where it is not here.

        A file of the recorded size and modification time is taken as unchanged unless `every_byte`; any other is
        hashed.
        """
        recorded = self._manifest(digest)
        if recorded is None:
            return None
        place = self.folder / digest
        found = content_files(place) if place.is_dir() else {}
        wrong = [f"{name} does not belong there" for name in found.keys() - recorded.keys()]
        for name, file in recorded.items():
            wrong += [f"{name} {fault}" for fault in _fault(found.get(name), file, every_byte)]
        return sorted(wrong)

    def take_in(self, staged: Path, manifest: FolderManifest) -> None:
        """Move a folder to its place, whole at once. What was there without counting, or damaged, gives way.

        `staged` is on the same disk.
        """
        place = self.folder / manifest.digest
        times = {name: (staged / name).stat().st_mtime_ns for name in manifest.files}
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            damaged = Path(tempfile.mkdtemp(dir=staged.parent, prefix="damaged-"))
            place.rename(damaged / place.name)
        try:
            staged.rename(place)
        except OSError:
            if not place.is_dir():
                raise
            shutil.rmtree(staged)  # Another run took in the same content this moment.
            times = {name: (place / name).stat().st_mtime_ns for name in manifest.files}
        files = {name: {**file.model_dump(), "mtime_ns": times[name]} for name, file in manifest.files.items()}
        record = to_json({"digest": manifest.digest, "files": files}).encode()
        DiskPlace(self.folder.parent).put(f"{self.folder.name}/{manifest.digest}{MANIFEST_SUFFIX}", record)

    def used(self, digest: str) -> None:
        """Note that an artifact was of use just now, for `make_room`."""
        os.utime(self.folder / f"{digest}{MANIFEST_SUFFIX}")

    def drop(self, digest: str) -> None:
        """Remove an artifact, its manifest first."""
        (self.folder / f"{digest}{MANIFEST_SUFFIX}").unlink(missing_ok=True)
        shutil.rmtree(self.folder / digest, ignore_errors=True)

    def make_room(self, limit_bytes: int) -> list[str]:
        """Drop the artifacts that were not used for longest until the rest fits; their digests."""
        manifests = list(self.folder.glob(f"*{MANIFEST_SUFFIX}"))
        by_age = sorted(manifests, key=lambda path: path.stat().st_mtime)
        sizes = {path.name.removesuffix(MANIFEST_SUFFIX): _size(path) for path in by_age}
        dropped = []
        total = sum(sizes.values())
        for digest, size in sizes.items():
            if total <= limit_bytes:
                break
            self.drop(digest)
            dropped.append(digest)
            total -= size
        return dropped

    def _manifest(self, digest: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.folder / f"{digest}{MANIFEST_SUFFIX}").read_bytes())["files"])
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return None  # Cut off or edited: as good as not there, and made or fetched again.


def _size(manifest: Path) -> int:
    try:
        return sum(file["size_bytes"] for file in json.loads(manifest.read_bytes())["files"].values())
    except (ValueError, KeyError, TypeError):
        return 0


def _fault(file: Path | None, recorded: dict[str, Any], every_byte: bool) -> list[str]:
    if file is None:
        return ["is missing"]
    status = file.stat()
    if status.st_size != recorded["size_bytes"]:
        return [f"has {status.st_size} bytes, expected {recorded['size_bytes']}"]
    as_written = status.st_mtime_ns == recorded.get("mtime_ns") and not every_byte
    if not as_written and file_digest(file) != recorded["sha256"]:
        return [f"does not have the sha256 {recorded['sha256'][:12]} that was recorded"]
    return []


def user_cache() -> Path:
    """GRAFT_CACHE, or Graft's part of the user's cache folder."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE) or Path(user) / "graft").absolute()


def copies_of(uri: str) -> Path:
    """Where copies of an S3 store's artifacts lie: under GRAFT_CACHE, or the user's cache folder."""
    return user_cache() / hashlib.sha256(uri.encode()).hexdigest()[:16]


def limit_bytes() -> int:
    """Limit of these copies: GRAFT_CACHE_GIB, or 20 GiB."""
    given = os.environ.get(CACHE_GIB)
    try:
        limit_gib = DEFAULT_CACHE_GIB if given is None else float(given)
    except ValueError:
        limit_gib = -1.0
    if not limit_gib >= 0:
        raise BadInput(f"{CACHE_GIB}={given}: expected a number of GiB, like 20.")
    return int(limit_gib * GIB)
