"""What a source holds: a folder with a subfolder a class, or a manifest (CSV, Parquet) that names images and labels."""

import os
from pathlib import Path
from typing import NamedTuple

from components.ingest.manifests import Columns, read_manifest
from components.interchange.dataset import SPLITS, SplitName
from components.interchange.errors import BadInput, listed

MANIFEST_SUFFIXES = (".csv", ".parquet")
SPLIT_FOLDERS = {*SPLITS, "valid", "validation", "training", "testing"}
LITTER = {"thumbs.db", "desktop.ini"}  # Left by file managers, as are names that begin with a dot.


class SourceImage(NamedTuple):
    """One image that a source names. `path` is relative to the source and readable; `file` is what to open."""

    path: str
    label: str
    file: Path
    split: SplitName | None = None
    group: str | None = None


def read_source(source: str, columns: Columns) -> list[SourceImage]:
    """All images that a source names, sorted by path; BadInput when there is no source or it holds no classes."""
    place = Path(source)
    if place.is_dir():
        found = _folder(place)
    elif place.is_file() and place.suffix.lower() in MANIFEST_SUFFIXES:
        found = _manifest(place, columns)
    elif place.exists():
        raise BadInput(f"--source {source} is a file: expected a folder or a manifest (.csv, .parquet).")
    else:
        raise BadInput(
            f"there is no source at {source}: expected a folder or a manifest (.csv, .parquet); see --source."
        )
    labels = sorted({image.label for image in found})
    if len(labels) < 2:
        raise BadInput(f"{source} has one class ({labels[0]}): a classifier needs at least two.")
    return sorted(found, key=lambda image: (image.path, image.label))


def _folder(root: Path) -> list[SourceImage]:
    subfolders = sorted(child for child in root.iterdir() if child.is_dir() and not _is_litter(child.name))
    if not subfolders:
        raise BadInput(f"{root} has no subfolders: expected a subfolder a class, with the class's images in it.")
    if {child.name.lower() for child in subfolders} <= SPLIT_FOLDERS:
        raise BadInput(
            f"the subfolders of {root} ({listed(child.name for child in subfolders)}) are splits, expected classes. "
            "Name one of them as --source, or write a manifest with a split column."
        )
    files = {child: _files(child) for child in subfolders}
    if not any(files.values()):
        raise BadInput(f"there are no images in {root}: its {len(subfolders)} subfolders are empty.")
    empty = [child.name for child in subfolders if not files[child]]
    if empty:
        raise BadInput(
            f"{len(empty)} classes of {root} have no images: {listed(empty)}. Fill or remove the subfolders."
        )
    return [
        SourceImage(_readable(file.relative_to(root).as_posix()), _readable(folder.name), file)
        for folder in subfolders
        for file in files[folder]
    ]


def _files(folder: Path) -> list[Path]:
    # A link that leads nowhere is no file and no folder: listed, and found missing later.
    return [
        path
        for path in folder.rglob("*")
        if not path.is_dir() and not any(_is_litter(part) for part in path.relative_to(folder).parts)
    ]


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER or name == "__MACOSX"


def _readable(name: str) -> str:
    """A name that can be written as UTF-8, whatever bytes the file system holds."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _manifest(path: Path, columns: Columns) -> list[SourceImage]:
    root = path.parent
    return [
        SourceImage(
            Path(os.path.relpath(root / row.image, root)).as_posix(), row.label, root / row.image, row.split, row.group
        )
        for row in read_manifest(path, columns)
    ]
