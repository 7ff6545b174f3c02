"""What ingest's key holds of its source: the listing, read without the step."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.ingest.source_names import ARCHIVE_SUFFIXES, EXPECTED, is_manifest
from components.interchange.artifact import file_digest
from components.interchange.errors import BadInput
from components.interchange.s3_objects import SCHEME, Bucket, ObjectChanged, S3Object, bucket_and_key


def source_listing(source: str, image_column: str, option: str = "--source") -> dict[str, Any]:
    """Count and sha256 of a source's listing: relative path, size and modification time (on S3 ETag) of every file.

    A manifest counts by its bytes and by the files that it names, an archive as the one file that it is, also where
    `source` is a manifest inside it, on disk and on S3. BadInput where there is nothing.
    """
    if source.startswith(SCHEME):
        return _objects(source, image_column, option)
    place = existing_place(source, option)
    if place.is_dir():
        return _folder(place, f"{option} {source}")
    if archive := _archive_of(place):
        return _listing(archive.parent, [archive], place.relative_to(archive).as_posix())
    if not is_manifest(place.name):
        return _listing(place.parent, [place])
    return _listing(
        place.parent, [place, *(place.parent / name for name in _names(place, image_column))], file_digest(place)
    )


def existing_place(source: str, option: str = "--source") -> Path:
    """The path of a source on a disk, which may lie inside an archive; BadInput where there is nothing."""
    place = Path(source.removeprefix("file://"))
    if "://" in source.removeprefix("file://"):
        raise BadInput(f"{option} {source}: expected {EXPECTED}.")
    if not place.exists() and not _archive_of(place):
        raise BadInput(f"{option} {source}: there is no such folder or file.")
    return place


def check_named(source: str) -> None:
    """BadInput of an empty name, which as a path would be the current folder: of a variable that is not set."""
    if not source:
        raise BadInput(f"--source is empty: expected {EXPECTED}. Is a variable not set?")


def _archive_of(place: Path) -> Path | None:
    return next((parent for parent in place.parents if parent.is_file()), None)


def _objects(source: str, image_column: str, option: str) -> dict[str, Any]:
    """A manifest counts with all objects beside and below it, whichever it names, and with those it names elsewhere."""
    bucket, key = bucket_and_key(source)
    names_images = is_manifest(key)
    archive = bucket.find_around(key, ARCHIVE_SUFFIXES) if names_images else None
    if archive:
        return _listed([archive], "", key)
    folder = key.rpartition("/")[0] if names_images else key
    found = bucket.objects(f"{folder}/" if folder else "")
    if not found and (single := bucket.find(key)):
        found = [single]
    if not found:
        raise BadInput(f"{option} {source}: there is no such object or prefix. Is AWS_ENDPOINT_URL right?")
    manifest = next((one for one in found if names_images and one.key == key), None)
    elsewhere = _elsewhere(bucket, folder, found, manifest, image_column) if manifest else []
    listing = _listed(found, folder, "".join(elsewhere))
    return {**listing, "files": len(found) + len(elsewhere)}


def _elsewhere(
    bucket: Bucket, folder: str, objects: list[S3Object], manifest: S3Object, image_column: str
) -> list[str]:
    """A line an object that a manifest names outside its folder: address, size and ETag, or that there is none."""
    from components.ingest.remote import S3Tree  # Loads pyarrow.

    with TemporaryDirectory(prefix="graft-manifest-") as scratch:
        table = Path(scratch) / f"manifest{Path(manifest.key).suffix}"
        try:
            bucket.download(manifest, table)
        except ObjectChanged as error:
            raise BadInput(f"{SCHEME}{bucket.name}/{manifest.key}: {error}. Start again when it is complete.") from None
        names = _names(table, image_column)
    found = S3Tree(bucket, folder, objects).elsewhere(names)
    return [f"{name}\0{file.stamp()}\n" for name, file in found.items()]


def _listed(objects: list[S3Object], folder: str, more: str) -> dict[str, Any]:
    lines = hashlib.sha256(more.encode())
    for each in objects:
        lines.update(f"{each.key.removeprefix(folder)}\0{each.num_bytes}\0{each.tag}\n".encode())
    return {"files": len(objects), "listing": lines.hexdigest()}


def _folder(place: Path, named: str) -> dict[str, Any]:
    files = sorted(files_below(place))
    if not files:
        raise BadInput(f"{named} is an empty folder. Expected a subfolder with images for every class.")
    return _listing(place, files)


def files_below(folder: Path, parents: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All files below, and folders that cannot be listed; links to folders are followed unless they lead back."""
    here = os.path.realpath(folder)
    if here in parents:
        return
    try:
        children = list(folder.iterdir())
    except PermissionError:
        yield folder
        return
    for child in children:
        if os.path.isdir(child):  # noqa: PTH112  Path.is_dir raises where its folder may be listed and not entered.
            yield from files_below(child, parents | {here})
        else:
            yield child


def _listing(root: Path, files: list[Path], more: str = "") -> dict[str, Any]:
    lines = hashlib.sha256(more.encode("utf-8", "surrogateescape"))
    for file in files:
        status = file.stat() if os.path.exists(file) else None  # noqa: PTH110  As above.
        line = f"{os.path.relpath(file, root)}\0{status and status.st_size}\0{status and status.st_mtime_ns}\n"
        lines.update(line.encode("utf-8", "surrogateescape"))
    return {"files": len(files), "listing": lines.hexdigest()}


def _names(manifest: Path, image_column: str) -> list[str]:
    """What a manifest calls its images; nothing where it cannot be read, which ingest refuses."""
    try:
        names = _column(manifest, image_column)
    except (ValueError, csv.Error, RecursionError):
        return []
    return [str(name).strip() for name in names if name]


def _column(manifest: Path, name: str) -> list[Any]:
    suffix = manifest.suffix.lower()
    if suffix == ".parquet":
        return _paths(manifest, name)
    if suffix == ".jsonl":
        with manifest.open("rb") as stream:
            rows = [json.loads(line.decode("utf-8-sig")) for line in stream if line.strip()]
        return [row.get(name) for row in rows if isinstance(row, dict)]
    with manifest.open(newline="", encoding="utf-8-sig") as text:
        return [row.get(name) for row in csv.DictReader(text)]


def _paths(table: Path, name: str) -> list[Any]:
    """A Parquet column of paths, or those in a column of images; the images' bytes are not read."""
    import pyarrow

    from components.ingest.parquet_cells import open_parquet, read_columns

    with open_parquet(table) as file:
        kind = next((field.type for field in file.schema_arrow if field.name == name), None)
    if kind is None or pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        return []
    if not pyarrow.types.is_struct(kind):
        return list(read_columns(table, table.stat().st_size, [name]).column(0).to_pylist())
    if kind.get_field_index("path") < 0:
        return []
    cells = read_columns(table, table.stat().st_size, [f"{name}.path"]).column(0).to_pylist()
    return [cell["path"] for cell in cells if cell]
