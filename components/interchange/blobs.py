"""Blobs: bytes by key in a local folder or an S3 bucket, with compare-and-swap, and whole folders of files over them.

A folder of files counts as there only with its manifest, `<prefix>.files.json`, which is written last. It lies beside
the folder and not inside, so that the stored folder has the digest of the one that was put.
"""

import shutil
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, ValidationError

from components.interchange.artifact import NO_CONTENT, RUN_FILE, content_files, file_digests, folder_digest, to_json
from components.interchange.blobs_disk import DiskPlace
from components.interchange.blobs_s3 import S3Place
from components.interchange.errors import BadInput, listed
from components.interchange.progress import progress

MANIFEST_SUFFIX = ".files.json"
FETCHES = 3  # Of a file that arrives with another sha256 than was put, before it counts as damaged.


class Damaged(BadInput):
    """A stored folder whose files are not those that were put."""


class StoredFile(BaseModel):
    """One file of a stored folder."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str
    size_bytes: int


class FolderManifest(BaseModel):
    """`<prefix>.files.json`: the content of a stored folder. `run.json`, if there, is no content and not listed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    files: dict[str, StoredFile]

    def is_of(self, digest: str) -> bool:
        """Whether it is the list of the artifact with this digest, by what it lists. A verdict counts by its bytes."""
        sha256s = {name: file.sha256 for name, file in self.files.items()}
        found = sha256s["verdict"] if sha256s.keys() == {"verdict"} else folder_digest(sha256s)
        return digest == self.digest == found


@dataclass(frozen=True)
class Blobs:
    """Bytes by key. Keys are relative POSIX paths; a first part that starts with a dot is the store's own.

    Every method raises BadInput where the place refuses: no such bucket, no permission, bad credentials, disk full.
    """

    uri: str
    place: DiskPlace | S3Place

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None where there are none."""
        found = self.place.get_with_tag(checked(key))
        return None if found is None else found[0]

    def get_with_tag(self, key: str) -> tuple[bytes, str] | None:
        """The bytes of a key and the tag that `compare_and_swap` expects of them, or None."""
        return self.place.get_with_tag(checked(key))

    def put(self, key: str, data: bytes) -> None:
        """Write a key whatever it held before; readers see the old bytes or the new, never a part."""
        self.place.put(checked(key), data)

    def put_file(self, key: str, path: Path) -> None:
        """`put` of a file's bytes, without holding them in memory."""
        self.place.put_file(checked(key), path)

    def get_file(self, key: str, path: Path) -> bool:
        """Write the bytes of a key to a file whose folder exists. False, and no file, where there are none."""
        return self.place.get_file(checked(key), path)

    def list(self, prefix: str = "") -> list[str]:
        """Keys that start with `prefix` (a string, not a folder), sorted."""
        return sorted(self.place.entries(prefix))

    def entries(self, prefix: str) -> dict[str, tuple[int, datetime]]:
        """Keys that start with `prefix` (a string, not a folder): size in bytes and time of writing (UTC)."""
        return self.place.entries(prefix)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Keys that start with `prefix`, with their sizes in bytes."""
        return {key: size_bytes for key, (size_bytes, _) in self.place.entries(prefix).items()}

    def children(self, folder: str) -> Sequence[str]:
        """Names of the folders right under a folder; no key is read for it."""
        return self.place.children(checked(folder))

    def sha256(self, key: str) -> str | None:
        """sha256 of what a key really holds, or None where there is nothing."""
        return self.place.sha256(checked(key))

    def delete(self, key: str) -> None:
        """Remove a key; nothing happens where it is not there."""
        self.place.delete([checked(key)])

    def delete_folder(self, prefix: str) -> None:
        """Remove a stored folder: its manifest first, so that nobody takes what is left for whole."""
        self.delete(manifest_key(prefix))
        self.place.delete(list(self.place.entries(f"{checked(prefix)}/")))

    def compare_and_swap(self, key: str, data: bytes, expected_tag: str | None) -> bool:
        """Write a key only if it still has that tag (None: only if it is not there). True if written.

        Of several writers with one expected tag exactly one gets True. BadInput on an S3 store that ignores
        conditions, before anything is written to `key`.
        """
        return self.place.compare_and_swap(checked(key), data, expected_tag)

    def folder_manifest(self, prefix: str) -> FolderManifest | None:
        """What the stored folder holds; None where it was never put to the end."""
        data = self.get(manifest_key(prefix))
        if data is None:
            return None
        try:
            manifest = FolderManifest.model_validate_json(data)
        except ValidationError as error:
            raise Damaged(f"{self.uri}/{manifest_key(prefix)} is damaged ({error.error_count()} errors).") from None
        for name in manifest.files:
            checked(name)
        return manifest

    def put_folder(self, prefix: str, folder: Path, manifest: FolderManifest | None = None) -> bool:
        """Store a folder under a prefix: files first, the manifest last. False if it is there already, and whole.

        Stored folders are immutable: BadInput where the prefix holds other content. Files that got lost are put again.
        `manifest` is the folder's, where it is known already.
        """
        files = content_files(folder) if folder.is_dir() else {}
        if not files:
            raise BadInput(f"{folder} is no folder with files; there is nothing to store under {prefix}.")
        manifest = manifest or manifest_of(files)
        stored = self.folder_manifest(prefix)
        if stored is not None and stored.digest != manifest.digest:
            raise BadInput(
                f"{self.uri}/{prefix} holds {stored.digest} already and is immutable; {folder} is {manifest.digest}."
            )
        if stored is not None and not self.folder_faults(prefix, stored):
            return False
        if (folder / RUN_FILE).is_file():
            files = {**files, RUN_FILE: folder / RUN_FILE}
        keys = {checked(f"{prefix}/{name}"): path for name, path in files.items()}
        for _ in progress(self.place.put_files(keys), "storing", total=len(keys), unit=" files"):
            pass
        self.put(manifest_key(prefix), to_json(manifest.model_dump(mode="json")).encode())
        return True

    def folder_faults(self, prefix: str, manifest: FolderManifest, every_byte: bool = False) -> Sequence[str]:
        """What is wrong with a stored folder, in words: files that are missing, of another size, or too many.

        `every_byte`: or of another sha256.
        """
        sizes = {key.removeprefix(f"{prefix}/"): size for key, size in self.sizes(f"{prefix}/").items()}
        for name in NO_CONTENT:  # A store that was copied from a disk has all of them.
            sizes.pop(name, None)
        wrong = [f"{name} is missing" for name in manifest.files.keys() - sizes.keys()]
        wrong += [f"{name} does not belong there" for name in sizes.keys() - manifest.files.keys()]
        for name in manifest.files.keys() & sizes.keys():
            recorded = manifest.files[name]
            if sizes[name] != recorded.size_bytes:
                wrong.append(f"{name} has {sizes[name]} bytes, expected {recorded.size_bytes}")
            elif every_byte and self.sha256(f"{prefix}/{name}") != recorded.sha256:
                wrong.append(f"{name} does not have the sha256 {recorded.sha256[:12]} that was recorded")
        return sorted(wrong)

    def fetch_folder(self, prefix: str, into: Path) -> FolderManifest:
        """Fetch a stored folder: `into` appears whole, with the sha256 of every file checked, or not at all.

        An `into` that is there already is not fetched again but checked. BadInput names the files that are damaged.
        """
        manifest = self.folder_manifest(prefix)
        if manifest is None:
            raise BadInput(f"{self.uri} has no {prefix}: expected {manifest_key(prefix)} and the files it lists.")
        if into.is_dir() and any(into.iterdir()):
            check_folder(into, manifest)
            return manifest
        partial = into.parent / f".{into.name}.partial-{uuid.uuid4().hex}"
        try:
            wrong = dict.fromkeys([*manifest.files, RUN_FILE], "is not fetched yet")
            for _ in range(FETCHES):  # What was damaged on its way comes whole at another try.
                self._fetch(prefix, wrong, partial)
                wrong = _wrong_files(partial, manifest)
                if not wrong:
                    break
            _refuse(wrong, f"{self.uri}/{prefix}")
            try:
                partial.rename(into)
            except OSError:
                if not into.exists():
                    raise
                check_folder(into, manifest)  # Someone else fetched it meanwhile.
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return manifest

    def _fetch(self, prefix: str, names: Collection[str], into: Path) -> None:
        files = {checked(f"{prefix}/{name}"): into / name for name in names}
        for path in files.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        for _ in progress(self.place.get_files(files), "fetching", total=len(files), unit=" files"):
            pass

    def folder_in_place(self, prefix: str) -> Path | None:
        """Where a stored folder can be read without fetching: on a disk; None on S3."""
        return self.place.root / checked(prefix) if isinstance(self.place, DiskPlace) else None


def open_blobs(uri: str) -> Blobs:
    """Open a store: a folder (a plain path or file://) or s3://bucket/prefix. Nothing is made or contacted yet."""
    scheme, colon, rest = uri.partition(":")
    host, _, path = rest.removeprefix("//").partition("/")
    if colon and scheme == "s3" and rest.startswith("//") and host:
        return Blobs(uri.rstrip("/"), S3Place(host, path.strip("/")))
    if colon and scheme == "file" and rest.startswith("//") and host in ("", "localhost") and path:
        return Blobs(uri.rstrip("/"), DiskPlace(Path("/" + unquote(path))))
    if not uri or "://" in uri or (colon and scheme in ("s3", "file")):
        raise BadInput(f"--store {uri!r}: expected a folder, file:///FOLDER or s3://BUCKET/PREFIX.")
    return Blobs(uri.rstrip("/") or "/", DiskPlace(Path(uri).absolute()))


def checked(key: str) -> str:
    """The key itself; BadInput where it is no plain relative path."""
    parts = PurePosixPath(key).parts
    if "/".join(parts) != key or not parts or parts[0] == "/" or ".." in parts or key[0] == "." or "\0" in key:
        raise BadInput(f"{key!r} is no key: expected a relative path without '.' and '..', like models/NAME.")
    return key


def check_folder(folder: Path, manifest: FolderManifest, called: str = "") -> None:
    """Damaged unless the folder holds exactly the manifest's files; names what is missing, damaged or too much."""
    _refuse(_wrong_files(folder, manifest), called or str(folder))


def _wrong_files(folder: Path, manifest: FolderManifest) -> dict[str, str]:
    found = file_digests(content_files(folder))
    wrong = {name: "is missing" for name in manifest.files if name not in found}
    for name in manifest.files.keys() & found.keys():
        expected = manifest.files[name].sha256
        if found[name] != expected:
            wrong[name] = f"is damaged (sha256 {found[name][:12]}, expected {expected[:12]})"
    return wrong | dict.fromkeys(found.keys() - manifest.files.keys(), "does not belong there")


def _refuse(wrong: Mapping[str, str], where: str) -> None:
    if wrong:
        told = listed(f"{name} {words}" for name, words in sorted(wrong.items()))
        raise Damaged(f"{where}: {told}. Remove what is wrong and put it there again.")


def manifest_of(files: Mapping[str, Path]) -> FolderManifest:
    """The manifest of a folder with these files, by path relative to it."""
    sha256s = file_digests(files)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    stored = {name: StoredFile(sha256=sha256, size_bytes=sizes[name]) for name, sha256 in sha256s.items()}
    return FolderManifest(digest=folder_digest(sha256s), files=stored)


def manifest_key(prefix: str) -> str:
    """Where the manifest of a stored folder lies: beside it."""
    return f"{checked(prefix)}{MANIFEST_SUFFIX}"
