"""The artifact store: immutable, content-addressed artifacts, and the records that find them, in a folder or on S3.

artifacts/<digest>/            an artifact's files (a verdict: one file of that name)
artifacts/<digest>.files.json  their sha256 and sizes; written last, so that what lacks it was never published
keys/<key>.json                what a step made under a key: port -> digest
latest/<model_name>/<step>.json  the key that a step was last run or found under, for saying what changed
runs/<run_id>/                 what one run has to show

A store on disk is used in place. One on S3 has a local folder beside it, with a copy of the artifacts that were of
use here. Either folder also has
tmp/<host>-<pid>-…/            what is being made; swept when its process is gone
locks/, prefect/               what keeps runs of this machine apart, and their history
"""

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.interchange.artifact import content_files, to_json
from components.interchange.blobs import Blobs, Damaged, manifest_key, manifest_of, open_blobs
from components.interchange.errors import BadInput
from pipelines.shelf import Shelf, copies_of, limit_bytes
from pipelines.staging import staging, sweep


def record_in(data: bytes | None) -> dict[str, Any] | None:
    """The JSON object that `data` is; None where there is none, or one that is cut off."""
    try:
        found = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class DamagedArtifact(BadInput):
    """An artifact whose files are not those that were published. It was set aside: the next run makes it again."""


@dataclass(frozen=True)
class Store:
    """A store. `root` is its own folder, or the local one of a store on S3."""

    root: Path
    blobs: Blobs
    whole: set[str] = field(default_factory=set)

    @property
    def uri(self) -> str:
        """What steps are told of the store."""
        return self.blobs.uri

    @property
    def in_place(self) -> bool:
        """Whether the store is a folder that is used as it is."""
        return self.blobs.folder_in_place("artifacts") is not None

    @property
    def shelf(self) -> Shelf:
        """The artifacts that lie here."""
        return Shelf(self.root / "artifacts")

    def where(self, key: str) -> str:
        """The path or URI of a key, to tell people."""
        return str(self.blobs.folder_in_place(key) or f"{self.uri}/{key}")

    def artifact(self, digest: str) -> Path:
        """Where an artifact lies, fetched and checked if it must be: a folder, or the one file of a verdict.

        DamagedArtifact when what was fetched is not what was published.
        """
        if not self.in_place:
            if self.shelf.faults(digest) != []:
                self._fetch(digest)
            self.shelf.used(digest)
        return self.shelf.place(digest)

    def _fetch(self, digest: str) -> None:
        prefix = f"artifacts/{digest}"
        with self.staging() as staging:
            try:
                manifest = self.blobs.fetch_folder(prefix, staging / "fetched")
                if not manifest.is_of(digest):
                    raise Damaged(f"{self.where(prefix)} holds another artifact.")
            except Damaged as error:
                self.forget(digest)
                raise DamagedArtifact(f"{error} It was set aside; the same command makes it again.") from None
            self.shelf.take_in(staging / "fetched", manifest)

    def damage(self, digest: str, every_byte: bool = False) -> list[str]:
        """What is wrong with an artifact, in words; empty when it is there and whole.

        Without `every_byte`: as far as sizes, and on disk modification times, tell.
        """
        if digest in self.whole and not every_byte:
            return []
        wrong = self.shelf.faults(digest, every_byte) if self.in_place else self._remote_faults(digest, every_byte)
        if wrong is None:
            return [f"artifact {digest[:12]} is not in the store"]
        if not wrong:
            self.whole.add(digest)
        return [f"artifact {digest[:12]} is damaged: {fault}" for fault in wrong]

    def _remote_faults(self, digest: str, every_byte: bool) -> list[str] | None:
        prefix = f"artifacts/{digest}"
        try:
            manifest = self.blobs.folder_manifest(prefix)
        except Damaged:
            return None
        return None if manifest is None else list(self.blobs.folder_faults(prefix, manifest, every_byte))

    def publish(self, staged: Path) -> str:
        """Take what a step made into the store under its digest; whole at once, and never twice."""
        files = content_files(staged)
        manifest = manifest_of(files) if staged.is_dir() else manifest_of({"verdict": files[staged.name]})
        if staged.is_file():  # Its digest is that of its bytes alone, whatever its name.
            manifest = manifest.model_copy(update={"digest": manifest.files["verdict"].sha256})
        if not self.damage(manifest.digest):
            return manifest.digest
        if staged.is_file():
            lone, staged = staged, staged.with_name(f"{staged.name}.folder")
            staged.mkdir()
            lone.rename(staged / "verdict")
        if not self.in_place:
            self.blobs.put_folder(f"artifacts/{manifest.digest}", staged, manifest)
        self.shelf.take_in(staged, manifest)
        return manifest.digest

    def forget(self, digest: str) -> None:
        """Drop an artifact's manifest: no key finds it any more, and the next run makes it again."""
        self.whole.discard(digest)
        self.blobs.delete(manifest_key(f"artifacts/{digest}"))
        if not self.in_place:
            self.shelf.drop(digest)

    def word(self, digest: str) -> str:
        """What a verdict says."""
        return self.artifact(digest).read_text(encoding="utf-8").strip()

    def outputs_of(self, key: str) -> dict[str, str] | None:
        """What was made under a step's key, port -> digest; None where nothing was."""
        record = self.key_record(key)
        return None if record is None else dict(record["outputs"])

    def parts_of_latest(self, model_name: str, step: str) -> dict[str, Any] | None:
        """The parts of the key that a step had in the last run of this model name."""
        latest = self.record(f"latest/{model_name}/{step}.json") or {}
        parts = (self.key_record(str(latest.get("key", ""))) or {}).get("parts")
        return parts if isinstance(parts, dict) else None

    def key_record(self, key: str) -> dict[str, Any] | None:
        """What is known of a step's key; None where nothing is, or nothing that can be made sense of."""
        record = self.record(f"keys/{key}.json") or {}
        return record if isinstance(record.get("outputs"), dict) else None

    def put_record(self, name: str, content: dict[str, Any]) -> None:
        """Write one small JSON record."""
        self.blobs.put(name, to_json(content).encode())

    def record(self, name: str) -> dict[str, Any] | None:
        """A small JSON record; None where there is none, or one that is cut off: as good as none, and made again."""
        return record_in(self.blobs.get(name))

    def staging(self) -> AbstractContextManager[Path]:
        """A folder on the store's own disk for one step's outputs; gone afterwards, whatever happens."""
        return staging(self.root / "tmp")

    def sweep(self) -> None:
        """Remove what killed runs of this host left half-made."""
        sweep(self.root / "tmp")

    def make_room(self) -> list[str]:
        """Keep the local copies of an S3 store's artifacts under their limit; digests of those that had to go."""
        return [] if self.in_place else self.shelf.make_room(limit_bytes())


def open_store(uri: str) -> Store:
    """Open a store: a plain path, a file:// URI or s3://BUCKET/PREFIX. BadInput for any other."""
    blobs = open_blobs(uri)
    folder = blobs.folder_in_place("artifacts")
    if folder is None:
        limit_bytes()  # Refuses a limit that is none, before anything runs.
        return Store(copies_of(blobs.uri), blobs)
    root = folder.parent.resolve()
    if root.exists() and not root.is_dir():
        raise BadInput(f"--store {uri}: {root} is a file. Expected a folder, or a path where one can be made.")
    return Store(root, open_blobs(str(root)))


def existing_store(uri: str) -> Store:
    """Open a store that is there already; BadInput where it is not."""
    store = open_store(uri)
    if store.in_place and not store.root.is_dir():
        raise BadInput(f"--store {uri}: there is no such folder.")
    return store
