"""Parquet tables that hold their images: one file, or a folder of shards as on the Hugging Face hub."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.ingest.files import BrokenFile, Problem
from components.ingest.layouts import METADATA_FILES, UNLABELLED, Listing, check_splits, of_split
from components.ingest.manifests import Columns, facts_of
from components.ingest.opened_tables import OpenedTable, opened_table
from components.ingest.split_names import SPLIT_NAMES, split_called
from components.ingest.table_rows import RowReader, TableRow, row_name
from components.ingest.trees import Entry, Tree, readable
from components.interchange.dataset import SplitName
from components.interchange.errors import BadInput, listed
from components.interchange.ledgers import Quarantined

SUFFIX = ".parquet"
BESIDE_TABLES = (".md", ".json", ".txt", ".yaml", ".yml", ".py")  # What else repositories of tables hold.


def is_table(name: str) -> bool:
    """Whether a file's name is that of a table that may hold images."""
    return name.lower().endswith(SUFFIX)


def read_tables(tree: Tree, columns: Columns, scratch: Path) -> Listing | None:
    """The images of a tree whose files are tables of images; None where it is no such tree.

    A table's split is in its name (train-00000-of-00002.parquet), or else in a folder's; where all are of one split,
    Graft chooses. BadInput as `read_image_table`, where splits are missing, and where tables differ in their classes.
    """
    entries = _files(tree)
    tables = [entry for entry in entries if is_table(entry.path)]
    opened, problems = {}, []
    for entry in tables:
        try:
            opened[entry.path] = opened_table(tree.shown, entry, columns, scratch)
        except BadInput as error:
            problems.append(str(error))
    if problems:
        raise BadInput(f"{len(problems)} of {len(tables)} tables of {tree.shown} cannot be read: {listed(problems)}")
    if not any(opened.values()):
        return None
    without = [path for path, table in opened.items() if table is None]
    if without:
        raise BadInput(
            f"{len(without)} of {len(tables)} tables of {tree.shown} have no column of images: {listed(without)}. "
            "Expected the images themselves, in a struct of bytes and path: name their column with --image-column, or "
            "take these tables away."
        )
    listing = _listing(tree, [table for table in opened.values() if table], columns, _splits(tree.shown, opened))
    outside = [image.path for image in listing.images if image.path.startswith(("../", "/"))]
    if outside:
        raise BadInput(
            f"{len(outside)} rows of the tables of {tree.shown} have no bytes, and paths that lead out of it: "
            f"{listed(outside)}. Expected paths below it, or the images themselves."
        )
    beside = [Quarantined(entry.path, UNLABELLED, "it is no table") for entry in entries if not is_table(entry.path)]
    named = {image.path for image in listing.images}
    return listing._replace(unusable=listing.unusable + [entry for entry in beside if entry.path not in named])


def read_image_table(tree: Tree, name: str, columns: Columns, scratch: Path) -> Listing | None:
    """The images in a table at the top of a tree; None where it holds none: it may be a manifest.

    BadInput where the table cannot be read, holds images inside an archive, or has several columns of images.
    """
    opened = opened_table(tree.shown, Entry(name, tree.entry(name).file), columns, scratch)
    return None if opened is None else _listing(tree, [opened], columns, {})


def _files(tree: Tree) -> list[Entry]:
    """All files of a tree of tables; none where another file than those that lie beside tables is in a folder."""
    folders, files = tree.top()
    if any(name.lower() in METADATA_FILES for name in files):
        return []
    found = [Entry(readable(name), tree.entry(name).file) for name in files]
    for folder in folders:
        inside = tree.below(folder)
        if not all(entry.path.lower().endswith((SUFFIX, *BESIDE_TABLES)) for entry in inside):
            return []
        found += inside
    return sorted(found, key=lambda entry: entry.path)


def _listing(
    tree: Tree, tables: list[OpenedTable], columns: Columns, splits: Mapping[str, SplitName | None]
) -> Listing:
    _check_classes(tables, columns.label)
    found, reader = Listing([], []), RowReader()
    for opened in tables:
        of_table = _rows(tree, opened, columns, reader, names_told=opened is not tables[0])
        split = splits.get(opened.table.name)
        found.images.extend(of_split(image, split) for image in of_table.images)
        found.unusable.extend(of_table.unusable)
    return found


def _rows(tree: Tree, opened: OpenedTable, columns: Columns, reader: RowReader, *, names_told: bool) -> Listing:
    table, found = opened.table, Listing([], [])
    facts = facts_of(table.name, opened.facts, columns, names_told=names_told)
    for row, (path, has_bytes, of_row) in enumerate(zip(opened.paths, opened.filled, facts, strict=True)):
        name = f"{table.name}/{row_name(row, path)}"
        if has_bytes:
            image = Entry(name, TableRow(reader, table, row))
        elif path:
            image = tree.entry(posixpath.join(posixpath.dirname(table.name), path))
        else:
            image = Entry(name, BrokenFile(Problem("empty", "the row has neither bytes nor a path")))
        found.add(image, of_row, f"row {row + 1} of {table.name} has nothing in column {columns.label!r}")
    return found


def _check_classes(tables: list[OpenedTable], label: str) -> None:
    """BadInput where the numbers of one table mean other classes than those of another."""
    by_names: dict[str, list[str]] = defaultdict(list)
    for opened in tables:
        by_names["no names" if opened.names is None else ", ".join(opened.names)].append(opened.table.name)
    if len(by_names) > 1:
        found = "; ".join(f"{names} in {listed(paths)}" for names, paths in by_names.items())
        raise BadInput(
            f"the tables disagree on the class names of column {label!r}: {found}. Expected one list of names, in one "
            "order, in the Hugging Face metadata of all: write them anew from one dataset."
        )


def _splits(shown: str, paths: Iterable[str]) -> dict[str, SplitName | None]:
    """The split of each table; None of all where they are of one split, or of none."""
    found = {path: _split_in(path) for path in paths}
    there = set(found.values())
    if len(there) == 1:
        return dict.fromkeys(found)
    without = [path for path, split in found.items() if split is None]
    if without:
        raise BadInput(
            f"{len(without)} of {len(found)} tables of {shown} have no split in their names: {listed(without)}. "
            f"Expected {', '.join(SPLIT_NAMES)} in the name of each (train-00000-of-00002.parquet) or of its "
            "folder, or in none."
        )
    check_splits(there, f"the tables of {shown}, by their names ({listed(sorted(filter(None, there)))}),")
    return found


def _split_in(path: str) -> SplitName | None:
    *folders, name = path.lower().removesuffix(SUFFIX).split("/")
    for part in (name, *reversed(folders)):
        said = {split for word in re.findall("[a-z]+", part) if (split := split_called(word))}
        if len(said) == 1:
            return said.pop()
    return None
