"""Archives (.zip, .tar, .tar.gz, .tgz) as trees: members are read into memory one at a time and written nowhere."""

import posixpath
import re
from pathlib import Path
from typing import NamedTuple

from components.ingest.layouts import METADATA_FILES
from components.ingest.random_access import GzipFile, PlainFile
from components.ingest.source_names import GZIP_SUFFIXES, ZIP_SUFFIX, is_manifest
from components.ingest.split_names import split_called
from components.ingest.tars import tar_members
from components.ingest.trees import Entry, ListedTree, readable
from components.ingest.zips import zip_members
from components.interchange.errors import BadInput
from components.interchange.file_kinds import HEAD_BYTES, seems_to_be
from components.interchange.ledgers import Quarantined


class Archive(NamedTuple):
    """An archive's tree, and the members that have no place in it."""

    tree: ListedTree
    unusable: list[Quarantined]


def open_archive(path: Path, shown: str | None = None) -> Archive:
    """List an archive, called `shown` in messages; BadInput where it is damaged, so that what it holds is not known.

    Members with absolute names or `..` are unusable: quarantined under the names they have.
    """
    name = path.name.lower()
    path.open("rb").close()  # zipfile takes one that we may not read for one that is damaged.
    try:
        if name.endswith(ZIP_SUFFIX):
            files, folders = zip_members(path)
        else:
            files, folders = tar_members(GzipFile(path) if name.endswith(GZIP_SUFFIXES) else PlainFile(path))
    except Exception as error:  # Damaged archives raise whatever the parsers stumble over.
        kind = seems_to_be(PlainFile(path).read_at(0, HEAD_BYTES))
        begins = f"it seems to be {kind}; " if kind else ""
        raise BadInput(
            f"{shown or path} cannot be read as an archive ({error}). Expected a whole .zip, .tar, .tar.gz or .tgz: "
            f"{begins}is the copy complete?"
        ) from None
    entries = [Entry(_path(name), file) for name, file in files if not _is_unsafe(name)]
    unusable = [
        Quarantined(readable(name), "unsafe name", "the member's name leads out of the archive")
        for name, _ in files
        if _is_unsafe(name)
    ]
    tree = ListedTree(shown or str(path), entries, [_path(name) for name in folders if not _is_unsafe(name)])
    return Archive(tree, unusable)


def unwrapped(tree: ListedTree) -> ListedTree:
    """The tree inside the one folder that the archive of a folder usually has around it."""
    while True:
        folders, files = tree.top()
        if len(folders) != 1 or files or split_called(folders[0]):
            return tree
        inside = tree.subtree(folders[0])
        inner_folders, inner_files = inside.top()
        if not inner_folders and not any(name.lower() in METADATA_FILES or is_manifest(name) for name in inner_files):
            return tree
        tree = inside


def _is_unsafe(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:[/\\]", name) is not None


def _path(name: str) -> str:
    return readable(posixpath.normpath(name))
