"""What a source holds: a folder, an archive, or a manifest that names images and labels."""

from pathlib import Path

from components.ingest.archives import SUFFIXES, Archive, is_archive, open_archive, unwrapped
from components.ingest.layouts import Listing, read_table, read_tree
from components.ingest.manifests import MANIFEST_SUFFIXES, Columns, is_manifest
from components.ingest.trees import FolderTree
from components.interchange.errors import BadInput

EXPECTED = f"a folder, a manifest ({', '.join(MANIFEST_SUFFIXES)}) or an archive ({', '.join(SUFFIXES)})"


def read_source(source: str, columns: Columns) -> Listing:
    """All files of a source, images sorted by path; BadInput when there is no source or fewer than two classes."""
    found = _read(source, columns)
    labels = sorted({image.label for image in found.images})
    if len(labels) < 2:
        raise BadInput(f"{source} has one class ({labels[0]}): a classifier needs at least two.")
    return Listing(sorted(found.images, key=lambda image: (image.path, image.label)), found.unusable)


def _read(source: str, columns: Columns) -> Listing:
    place = Path(source.removeprefix("file://"))
    if place.is_dir():
        return read_tree(FolderTree(place), columns)
    if place.is_file() and is_manifest(place.name):
        return read_table(FolderTree(place.parent), place.name, columns)
    if place.is_file() and is_archive(place):
        archive = open_archive(place)
        return _with(archive, read_tree(unwrapped(archive.tree), columns))
    around = next((parent for parent in place.parents if parent.is_file() and is_archive(parent)), None)
    if around and is_manifest(place.name):
        archive = open_archive(around)
        tree = archive.tree
        for folder in place.relative_to(around).parts[:-1]:
            tree = tree.subtree(folder)
        return _with(archive, read_table(tree, place.name, columns))
    if place.exists():
        raise BadInput(f"--source {source} is a file: expected {EXPECTED}.")
    raise BadInput(f"there is no source at {source}: expected {EXPECTED}; see --source.")


def _with(archive: Archive, found: Listing) -> Listing:
    return found._replace(unusable=found.unusable + archive.unusable)
