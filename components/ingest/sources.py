"""What a source holds: a folder, an archive, or a manifest that names images and labels; on disk or on S3."""

import posixpath
from pathlib import Path

from components.ingest.archives import Archive, open_archive, unwrapped
from components.ingest.layouts import Listing, read_table, read_tree
from components.ingest.manifests import Columns
from components.ingest.remote import S3Tree
from components.ingest.source_names import ARCHIVE_SUFFIXES, EXPECTED, is_archive, is_manifest
from components.ingest.tables import is_table, read_image_table, read_tables
from components.ingest.trees import FolderTree, Tree
from components.interchange.errors import BadInput, listed
from components.interchange.s3_objects import SCHEME, Bucket, ObjectChanged, S3Object, bucket_and_key


def read_source(source: str, columns: Columns, scratch: Path) -> Listing:
    """All files of a source, images sorted by path; BadInput when there is no source or fewer than two classes.

    An archive, or a table of images, on S3 is downloaded to the folder `scratch`, which must be there as long as the
    images are read.
    """
    found = _read_s3(source, columns, scratch) if source.startswith(SCHEME) else _read(source, columns, scratch)
    labels = sorted({image.label for image in found.images})
    if len(labels) < 2:
        raise BadInput(f"{source} has one class ({listed(labels)}): a classifier needs at least two.")
    return Listing(sorted(found.images, key=lambda image: (image.path, image.label)), found.unusable)


def _read(source: str, columns: Columns, scratch: Path) -> Listing:
    place = Path(source.removeprefix("file://"))
    if place.is_dir():
        return _of_tree(FolderTree(place), columns, scratch)
    if place.is_file() and is_manifest(place.name):
        return _of_table(FolderTree(place.parent), place.name, columns, scratch)
    if place.is_file() and is_archive(place.name):
        archive = open_archive(place)
        return _with(archive, _of_tree(unwrapped(archive.tree), columns, scratch))
    around = next((parent for parent in place.parents if parent.is_file() and is_archive(parent.name)), None)
    if around and is_manifest(place.name):
        return _table_in(open_archive(around), place.relative_to(around).as_posix(), columns, scratch)
    if place.exists():
        raise BadInput(f"--source {source} is a file: expected {EXPECTED}.")
    raise BadInput(f"there is no source at {source}: expected {EXPECTED}; see --source.")


def _of_tree(tree: Tree, columns: Columns, scratch: Path) -> Listing:
    return read_tables(tree, columns, scratch) or read_tree(tree, columns)


def _of_table(tree: Tree, name: str, columns: Columns, scratch: Path) -> Listing:
    images = read_image_table(tree, name, columns, scratch) if is_table(name) else None
    return images or read_table(tree, name, columns)


def _table_in(archive: Archive, path: str, columns: Columns, scratch: Path) -> Listing:
    """What a manifest inside an archive names; it means paths relative to its own folder."""
    *folders, name = path.split("/")
    tree = archive.tree
    for folder in folders:
        tree = tree.subtree(folder)
    return _with(archive, _of_table(tree, name, columns, scratch))


def _with(archive: Archive, found: Listing) -> Listing:
    return found._replace(unusable=found.unusable + archive.unusable)


def _read_s3(source: str, columns: Columns, scratch: Path) -> Listing:
    bucket, key = bucket_and_key(source)
    folder, name = posixpath.split(key)
    around = bucket.find_around(key, ARCHIVE_SUFFIXES) if is_manifest(name) else None
    if around:
        archive = _downloaded(bucket, around, scratch)
        return _table_in(archive, key.removeprefix(f"{around.key}/"), columns, scratch)
    if is_manifest(name):
        return _of_table(S3Tree(bucket, folder), name, columns, scratch)
    packed = bucket.find(key) if is_archive(name) else None
    if packed:
        archive = _downloaded(bucket, packed, scratch)
        return _with(archive, _of_tree(unwrapped(archive.tree), columns, scratch))
    tree = S3Tree(bucket, key)
    if tree.top() == ([], []):
        raise BadInput(f"there is no source at {source}: expected {EXPECTED}; see --source and AWS_ENDPOINT_URL.")
    return _of_tree(tree, columns, scratch)


def _downloaded(bucket: Bucket, packed: S3Object, scratch: Path) -> Archive:
    shown, place = f"{SCHEME}{bucket.name}/{packed.key}", scratch / posixpath.basename(packed.key)
    try:
        bucket.download(packed, place)
    except ObjectChanged as error:
        raise BadInput(f"--source {shown}: {error}. Start again when it is complete.") from None
    return open_archive(place, shown=shown)
