"""Files in folders, wherever they lie: on the disk or in an archive. Paths are POSIX, relative to the tree."""

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

from components.ingest.files import MISSING, BrokenFile, DiskFile, Problem, SourceFile

LITTER = {"thumbs.db", "desktop.ini", "__macosx"}  # Left by file managers, as are names that begin with a dot.


class Entry(NamedTuple):
    """A file and its path, which can be written as UTF-8."""

    path: str
    file: SourceFile


class Tree(Protocol):
    """What the layouts ask of a place. `shown` is its name in messages."""

    @property
    def shown(self) -> str:
        """The place, in messages."""

    def top(self) -> tuple[list[str], list[str]]:
        """Names of folders and of files at the top, sorted; litter left out."""

    def below(self, folder: str) -> list[Entry]:
        """All files under a folder of the top, at any depth, with paths relative to the tree; litter left out."""

    def subtree(self, folder: str) -> "Tree":
        """A folder of the top as a tree of its own."""

    def entry(self, path: str) -> Entry:
        """The file that a manifest at the top calls `path`; one that is not there says so in its problem."""

    def entries(self, paths: Sequence[str]) -> list[Entry]:
        """`entry` of each, in their order."""


def is_litter(path: str) -> bool:
    """Whether a file or one of its folders was left by a file manager."""
    return any(map(_is_litter, path.split("/")))


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def readable(name: str) -> str:
    """A name that can be written as UTF-8, whatever bytes the file system holds."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class FolderTree(NamedTuple):
    """A folder on the disk. Names at the top are kept as the file system has them; entries have readable ones."""

    root: Path

    @property
    def shown(self) -> str:
        """The folder."""
        return str(self.root)

    def top(self) -> tuple[list[str], list[str]]:
        """Names of folders and of files."""
        folders: list[str] = []
        files: list[str] = []
        for child in sorted(self.root.iterdir()):
            if not is_litter(child.name):
                (folders if child.is_dir() else files).append(child.name)
        return folders, files

    def below(self, folder: str) -> list[Entry]:
        """All files under a folder, and folders that cannot be listed, which are unusable.

        Links to folders are followed, but into no folder twice. One that leads nowhere is listed, and found missing.
        """
        found = []
        around, absolute = str(self.root / "_")[:-1], str(self.root.absolute() / "_")[:-1]
        for place, files, error in _folders(str(self.root / folder)):
            inside = f"{place}/".removeprefix(around)
            if error is not None:
                problem = Problem("unreadable", f"the folder cannot be listed ({error.strerror})")
                found.append(Entry(readable(inside[:-1]), BrokenFile(problem)))
            names = (inside + name for name in files if not _is_litter(name))
            found += [Entry(readable(name), DiskFile(absolute + name)) for name in names]
        return found

    def subtree(self, folder: str) -> "FolderTree":
        """A folder of the top."""
        return FolderTree(self.root / folder)

    def entry(self, path: str) -> Entry:
        """A file that may lie elsewhere: `path` may be absolute or lead out of the folder, and is no URI."""
        if "://" in path:
            return Entry(
                path, BrokenFile(Problem("missing", "a manifest on a disk names files on a disk, and no URIs"))
            )
        file = self.root / path
        return Entry(Path(os.path.relpath(file, self.root)).as_posix(), DiskFile(str(file.absolute())))

    def entries(self, paths: Sequence[str]) -> list[Entry]:
        """`entry` of each."""
        return [self.entry(path) for path in paths]


def _folders(top: str) -> Iterator[tuple[str, list[str], OSError | None]]:
    """Each folder from `top` down, the names of its files, and why it cannot be listed.

    Through links, too; a folder that was there already, or that `top` lies in, is left out.
    """
    top_real = os.path.realpath(top)
    entered: set[str] = set()
    waiting = [(top, top_real)]
    while waiting:
        place, real = waiting.pop()
        if real in entered or (place != top and f"{top_real}/".startswith(f"{real}/")):
            continue
        entered.add(real)
        folders: list[tuple[bool, str]] = []
        files: list[str] = []
        try:
            with os.scandir(place) as children:  # pathlib takes ten times as long.
                for child in children:
                    if _is_folder(child):
                        folders.append((child.is_symlink(), child.name))
                    else:
                        files.append(child.name)
        except OSError as error:
            yield place, [], error
            continue
        yield place, files, None
        for is_link, name in sorted(folders, reverse=True):  # The last is entered first: links after all others.
            if _is_litter(name):
                continue
            inside = f"{place}/{name}"
            waiting.append((inside, os.path.realpath(inside) if is_link else f"{real}/{name}"))


def _is_folder(child: "os.DirEntry[str]") -> bool:
    try:
        return child.is_dir()
    except OSError:  # Links that lead to each other.
        return False


class ListedTree:
    """Files known from a listing: an archive's members. Two files of one name are both unusable."""

    def __init__(self, shown: str, entries: Iterable[Entry], folders: Iterable[str] = ()) -> None:
        """`folders` need not name the parents of the entries."""
        self.shown = shown
        by_path: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_path[entry.path].append(entry)
        self._entries = [entry for path in by_path for entry in _unambiguous(by_path[path])]
        self._folders = {*folders, *(parent for path in by_path for parent in _parents(path))}

    def top(self) -> tuple[list[str], list[str]]:
        """Names of folders and of files."""
        folders = {folder.split("/")[0] for folder in self._folders}
        files = {entry.path for entry in self._entries if "/" not in entry.path}
        return _tidy(folders), _tidy(files)

    def below(self, folder: str) -> list[Entry]:
        """All files under a folder."""
        return [entry for entry in self._by_folder.get(folder, []) if not is_litter(entry.path)]

    def subtree(self, folder: str) -> "ListedTree":
        """A folder of the top."""
        inside = f"{folder}/"
        entries = [Entry(path.removeprefix(inside), file) for path, file in self._entries if path.startswith(inside)]
        folders = {name.removeprefix(inside) for name in self._folders if name.startswith(inside)}
        return ListedTree(f"{self.shown}/{folder}", entries, folders)

    def entry(self, path: str) -> Entry:
        """A file of the listing."""
        name = posixpath.normpath(path)
        return Entry(name, self._by_path.get(name, MISSING))

    def entries(self, paths: Sequence[str]) -> list[Entry]:
        """`entry` of each."""
        return [self.entry(path) for path in paths]

    @cached_property
    def _by_path(self) -> dict[str, SourceFile]:
        return dict(self._entries)

    @cached_property
    def _by_folder(self) -> dict[str, list[Entry]]:
        """By folder of the top: one pass, however many classes there are."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._entries:
            folder, below, _ = entry.path.partition("/")
            if below:
                found[folder].append(entry)
        return found


def _tidy(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not is_litter(name))


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _unambiguous(entries: list[Entry]) -> list[Entry]:
    if len(entries) == 1:
        return entries
    problem = Problem("ambiguous name", f"{len(entries)} files of the source have this name")
    return [Entry(entry.path, BrokenFile(problem)) for entry in entries]
