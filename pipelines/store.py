"""The artifact store: immutable, content-addressed artifacts, and the records that find them, in a local folder.

artifacts/<digest>/            an artifact's files (a verdict: one file of that name)
artifacts/<digest>.files.json  their sha256 and sizes; written last, so that what lacks it was never published
keys/<key>.json                what a step made under a key: port -> digest
latest/<model_name>/<step>.json  the key that a step was last run or found under, for saying what changed
runs/<run_id>/                 what one run has to show
tmp/<host>-<pid>-…/            what is being made; swept when its process is gone
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.interchange.artifact import content_files, digest, file_digest, to_json
from components.interchange.blobs import Blobs, open_blobs
from components.interchange.errors import BadInput


@dataclass(frozen=True)
class Store:
    """A store in the folder `root`; `blobs` are its small records."""

    root: Path
    blobs: Blobs
    whole: set[str] = field(default_factory=set)

    @property
    def uri(self) -> str:
        """What steps are told of the store."""
        return str(self.root)

    def artifact(self, digest: str) -> Path:
        """Where an artifact lies: a folder, or the one file of a verdict."""
        place = self.root / "artifacts" / digest
        return place / "verdict" if (place / "verdict").is_file() else place

    def damage(self, digest: str, every_byte: bool = False) -> list[str]:
        """What is wrong with an artifact, in words; empty when it is there and whole.

        A file of the recorded size and modification time is taken as unchanged unless `every_byte`; any other is
        hashed.
        """
        if digest in self.whole and not every_byte:
            return []
        manifest = self._record(f"artifacts/{digest}.files.json")
        if manifest is None:
            return [f"artifact {digest[:12]} is not in the store"]
        place = self.root / "artifacts" / digest
        found = content_files(place) if place.is_dir() else {}
        wrong = [f"{name} does not belong there" for name in found.keys() - manifest["files"].keys()]
        for name, recorded in manifest["files"].items():
            wrong += [f"{name} {fault}" for fault in _fault(found.get(name), recorded, every_byte)]
        if not wrong:
            self.whole.add(digest)
        return [f"artifact {digest[:12]} is damaged: {fault}" for fault in sorted(wrong)]

    def publish(self, staged: Path) -> str:
        """Move what a step made into the store under its digest; whole at once, and never twice."""
        name = digest(staged)
        place = self.root / "artifacts" / name
        if not self.damage(name):
            return name
        files = {
            path: {"sha256": file_digest(file), "size_bytes": file.stat().st_size, "mtime_ns": file.stat().st_mtime_ns}
            for path, file in content_files(staged).items()
        }
        if staged.is_file():
            lone, staged = staged, staged.with_name(f"{staged.name}.folder")
            staged.mkdir()
            lone.rename(staged / "verdict")
            files = {"verdict": files[lone.name]}
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():  # Damaged, or a publication that was cut off before its manifest.
            damaged = Path(tempfile.mkdtemp(dir=staged.parent, prefix="damaged-"))
            place.rename(damaged / name)
        with contextlib.suppress(FileExistsError):  # Another run published the same content this moment.
            _rename_new(staged, place)
        self.put_record(f"artifacts/{name}.files.json", {"digest": name, "files": files})
        return name

    def word(self, digest: str) -> str:
        """What a verdict says."""
        return self.artifact(digest).read_text(encoding="utf-8").strip()

    def outputs_of(self, key: str) -> dict[str, str] | None:
        """What was made under a step's key, port -> digest; None where nothing was."""
        record = self._record(f"keys/{key}.json")
        return None if record is None else dict(record["outputs"])

    def parts_of_latest(self, model_name: str, step: str) -> dict[str, Any] | None:
        """The parts of the key that a step had in the last run of this model name."""
        latest = self._record(f"latest/{model_name}/{step}.json")
        record = None if latest is None else self._record(f"keys/{latest['key']}.json")
        return None if record is None else dict(record["parts"])

    def put_record(self, name: str, content: dict[str, Any]) -> Path:
        """Write one small JSON record and return its path."""
        self.blobs.put(name, to_json(content).encode())
        return self.root / name

    def _record(self, name: str) -> dict[str, Any] | None:
        data = self.blobs.get(name)
        if data is None:
            return None
        try:
            return dict(json.loads(data))
        except ValueError:
            return None  # Cut off or edited: as good as not there, and made again.

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder on the store's own disk for one step's outputs; gone afterwards, whatever happens."""
        self._sweep()
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self.root / "tmp", prefix=f"{_host()}-{os.getpid()}-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what killed runs on this host left in `tmp`."""
        for folder in (self.root / "tmp").glob(f"{_host()}-*"):
            pid = folder.name.removeprefix(f"{_host()}-").split("-")[0]
            if pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)


def _fault(file: Path | None, recorded: dict[str, Any], every_byte: bool) -> list[str]:
    if file is None:
        return ["is missing"]
    status = file.stat()
    if status.st_size != recorded["size_bytes"]:
        return [f"has {status.st_size} bytes, expected {recorded['size_bytes']}"]
    as_written = status.st_mtime_ns == recorded["mtime_ns"] and not every_byte
    if not as_written and file_digest(file) != recorded["sha256"]:
        return [f"does not have the sha256 {recorded['sha256'][:12]} that was recorded"]
    return []


def _rename_new(source: Path, target: Path) -> None:
    """Rename a folder; FileExistsError where the target is a folder with files."""
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        raise FileExistsError(str(target)) from None


def _host() -> str:
    return os.uname().nodename.replace("-", "_")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def open_store(uri: str) -> Store:
    """Open a store: a plain path or file:// URI. BadInput for any other scheme."""
    if uri.startswith("s3://"):
        raise BadInput(f"--store {uri}: artifacts are kept in a local folder. Expected a path or file:///FOLDER.")
    blobs = open_blobs(uri)
    root = blobs.folder_in_place("artifacts")
    assert root is not None
    root = root.parent.resolve()
    if root.exists() and not root.is_dir():
        raise BadInput(f"--store {uri}: {root} is a file. Expected a folder, or a path where one can be made.")
    return Store(root, open_blobs(str(root)))


def existing_store(uri: str) -> Store:
    """Open a store that is there already; BadInput where it is not."""
    store = open_store(uri)
    if not store.root.is_dir():
        raise BadInput(f"--store {uri}: there is no such folder.")
    return store
