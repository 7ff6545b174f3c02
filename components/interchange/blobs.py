"""Blobs: bytes by key in a local folder or an S3 bucket, with compare-and-swap, and whole folders of files over them.

A folder of files counts as there only with its manifest, `<prefix>.files.json`, which is written last. It lies beside
the folder and not inside, so that the stored folder has the digest of the one that was put.
"""

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, ValidationError

from components.interchange.artifact import RUN_FILE, content_files, digest, file_digest, to_json
from components.interchange.blobs_disk import DiskPlace
from components.interchange.blobs_s3 import S3Place
from components.interchange.errors import BadInput, listed
from components.interchange.progress import progress


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
        return sorted(self.place.sizes(prefix))

    def compare_and_swap(self, key: str, data: bytes, expected_tag: str | None) -> bool:
        """Write a key only if it still has that tag (None: only if it is not there). True if written.

        Of several writers with one expected tag exactly one gets True. BadInput on an S3 store that ignores
        conditions, before anything is written to `key`.
        """
        return self.place.compare_and_swap(checked(key), data, expected_tag)

    def folder_manifest(self, prefix: str) -> FolderManifest | None:
        """What the stored folder holds; None where it was never put to the end."""
        data = self.get(_manifest_key(prefix))
        if data is None:
            return None
        try:
            manifest = FolderManifest.model_validate_json(data)
        except ValidationError as error:
            raise BadInput(f"{self.uri}/{_manifest_key(prefix)} is damaged ({error.error_count()} errors).") from None
        for name in manifest.files:
            checked(name)
        return manifest

    def put_folder(self, prefix: str, folder: Path) -> bool:
        """Store a folder under a prefix: files first, the manifest last. False if it is there already, and whole.

        Stored folders are immutable: BadInput where the prefix holds other content. Files that got lost are put again.
        """
        files = content_files(folder) if folder.is_dir() else {}
        if not files:
            raise BadInput(f"{folder} is no folder with files; there is nothing to store under {prefix}.")
        manifest = FolderManifest(
            digest=digest(folder),
            files={
                name: StoredFile(sha256=file_digest(path), size_bytes=path.stat().st_size)
                for name, path in files.items()
            },
        )
        stored = self.folder_manifest(prefix)
        if stored is not None and stored.digest != manifest.digest:
            raise BadInput(
                f"{self.uri}/{prefix} holds {stored.digest} already and is immutable; {folder} is {manifest.digest}."
            )
        sizes = self.place.sizes(f"{prefix}/")
        wanted = {f"{prefix}/{name}": file.size_bytes for name, file in manifest.files.items()}
        if stored is not None and wanted.items() <= sizes.items():
            return False
        run_file = {RUN_FILE: folder / RUN_FILE} if (folder / RUN_FILE).is_file() else {}
        for name, path in progress(list({**files, **run_file}.items()), "storing", unit=" files"):
            self.put_file(f"{prefix}/{name}", path)
        self.put(_manifest_key(prefix), to_json(manifest.model_dump(mode="json")).encode())
        return True

    def fetch_folder(self, prefix: str, into: Path) -> FolderManifest:
        """Fetch a stored folder: `into` appears whole, with the sha256 of every file checked, or not at all.

        An `into` that is there already is not fetched again but checked. BadInput names the files that are damaged.
        """
        manifest = self.folder_manifest(prefix)
        if manifest is None:
            raise BadInput(f"{self.uri} has no {prefix}: expected {_manifest_key(prefix)} and the files it lists.")
        if into.is_dir() and any(into.iterdir()):
            check_folder(into, manifest)
            return manifest
        partial = into.parent / f".{into.name}.partial-{uuid.uuid4().hex}"
        try:
            for name in progress(list(manifest.files), "fetching", unit=" files"):
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                self.get_file(f"{prefix}/{name}", partial / name)
            self.get_file(f"{prefix}/{RUN_FILE}", partial / RUN_FILE)
            check_folder(partial, manifest, f"{self.uri}/{prefix}")
            try:
                partial.rename(into)
            except OSError:
                if not into.exists():
                    raise
                check_folder(into, manifest)  # Someone else fetched it meanwhile.
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return manifest

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
    """BadInput unless the folder holds exactly the manifest's files; names what is missing, damaged or too much."""
    found = content_files(folder)
    wrong = [f"{name} is missing" for name in manifest.files if name not in found]
    for name in manifest.files.keys() & found.keys():
        found_sha256, expected = file_digest(found[name]), manifest.files[name].sha256
        if found_sha256 != expected:
            wrong.append(f"{name} is damaged (sha256 {found_sha256[:12]}, expected {expected[:12]})")
    wrong += [f"{name} does not belong there" for name in found.keys() - manifest.files.keys()]
    if wrong:
        raise BadInput(f"{called or folder}: {listed(sorted(wrong))}. Remove what is wrong and put it there again.")


def _manifest_key(prefix: str) -> str:
    return f"{checked(prefix)}.files.json"
