"""How a tree says which image has which label: subfolders, splits of subfolders, metadata files, manifests."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from components.ingest.files import SourceFile
from components.ingest.manifests import Columns, RowFacts, read_manifest
from components.ingest.source_names import is_manifest
from components.ingest.split_names import split_called
from components.ingest.trees import Entry, Tree, readable
from components.interchange.dataset import SPLITS, SplitName
from components.interchange.errors import BadInput, counted, listed
from components.interchange.image_files import BrokenImage
from components.interchange.ledgers import Quarantined

UNLABELLED = "unlabelled"  # The reason of files that the layout gives no label.
METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # Of Hugging Face's imagefolder.


class SourceImage(NamedTuple):
    """One image that a source names. `path` is relative to the source and readable; `file` is what to open.

    `attributes`: a manifest's other columns as a JSON object, where there are any.
    """

    path: str
    label: str
    file: SourceFile
    split: SplitName | None = None
    group: str | None = None
    attributes: str | None = None


class Listing(NamedTuple):
    """The images of a source, and its files that have no place among them."""

    images: list[SourceImage]
    unusable: list[Quarantined]

    def add(self, image: Entry, facts: RowFacts, without_label: str) -> None:
        """The image of a table's row; one without a label is unusable, and `without_label` says where it is."""
        if facts.label is None:
            self.unusable.append(Quarantined(image.path, "wrong label", without_label))
        else:
            self.images.append(SourceImage(image.path, facts.label, image.file, *facts[1:]))


def read_tree(tree: Tree, columns: Columns) -> Listing:
    """The images of a tree: by its metadata file, by folders of splits, or by a subfolder a class.

    Files that get no label are `unlabelled`. BadInput where it is none of these, where classes are empty, or a split is
    missing.
    """
    folders, files = tree.top()
    by_split = {folder: split_called(folder) for folder in folders}
    in_splits = bool(folders) and all(by_split.values())
    if _metadata(tree, files):
        found = _by_metadata(tree, files, columns)
        if not in_splits:
            return found
        images = [of_split(image, by_split.get(image.path.split("/")[0])) for image in found.images]
        return found._replace(images=images)
    if not in_splits:
        _check_classes(tree, by_split)
        return _by_subfolder(tree, folders, files)
    check_splits(set(by_split.values()), f"the subfolders of {tree.shown} ({listed(folders)})")
    found = Listing([], _beside(files))
    for folder, split in by_split.items():
        inside, around = tree.subtree(folder), f"{readable(folder)}/"
        inner_folders, inner_files = inside.top()
        if _metadata(inside, inner_files):
            images, unusable = _by_metadata(inside, inner_files, columns)
        else:
            images, unusable = _by_subfolder(inside, inner_folders, inner_files)
        found.images.extend(of_split(image._replace(path=f"{around}{image.path}"), split) for image in images)
        found.unusable.extend(entry._replace(path=f"{around}{entry.path}") for entry in unusable)
    return found


def check_splits(found: Collection[SplitName | None], whose: str) -> None:
    """BadInput where there is no train, or nothing beside it: of val and test one can be taken out of train."""
    if "train" not in found or len(found) < len(SPLITS) - 1:
        missing = listed(split for split in SPLITS if split not in found)
        raise BadInput(
            f"{whose} are splits, and there is none for {missing}: expected train, and validation or test or both. Add "
            "it, name one split alone as --source, or write a manifest with a split column, which may be empty where "
            "Graft may choose."
        )


def _check_classes(tree: Tree, by_split: Mapping[str, SplitName | None]) -> None:
    """BadInput where train and another split lie among the folders of classes; `train` alone may be a class."""
    splits = [folder for folder, split in by_split.items() if split]
    if {"train", "val"} <= (found := set(by_split.values())) or {"train", "test"} <= found:
        others = listed(readable(folder) for folder, split in by_split.items() if not split)
        raise BadInput(
            f"some subfolders of {tree.shown} are splits ({listed(splits)}), others are not ({others}): expected "
            "splits alone, or a subfolder a class. Move the others away, or name the images in a manifest."
        )


def read_table(tree: Tree, name: str, columns: Columns) -> Listing:
    """The images that a manifest at the top of a tree names; those without a label are unusable."""
    file = tree.entry(name).file
    problem = file.problem()
    try:
        if problem and problem.reason != "empty":
            raise BrokenImage(*problem)
        data = file.read() if problem is None else b""
    except BrokenImage as broken:
        raise BadInput(f"{tree.shown}/{name} cannot be read as a manifest ({broken}).") from None
    rows = read_manifest(f"{tree.shown}/{name}", data, columns)
    found = Listing([], [])
    images = tree.entries([row.image for row in rows])
    for number, (image, row) in enumerate(zip(images, rows, strict=True), 1):
        found.add(image, row.facts, f"row {number} of {name} has nothing in column {columns.label!r}")
    return found


def _metadata(tree: Tree, files: list[str]) -> str | None:
    found = [name for name in files if name.lower() in METADATA_FILES]
    if len(found) > 1:
        raise BadInput(
            f"{tree.shown} has {len(found)} metadata files ({listed(found)}): expected one. Remove the others."
        )
    return found[0] if found else None


def _beside(files: list[str]) -> list[Quarantined]:
    return [Quarantined(readable(name), UNLABELLED, "it lies beside the folders of images") for name in files]


def _by_metadata(tree: Tree, files: list[str], columns: Columns) -> Listing:
    name = _metadata(tree, files)
    assert name is not None
    found = read_table(tree, name, columns._replace(image=columns.metadata_image))
    outside = [image.path for image in found.images if image.path.startswith(("../", "/"))]
    if outside:
        raise BadInput(
            f"{len(outside)} rows of {tree.shown}/{name} lead out of its folder: {listed(outside)}. Expected paths "
            "below it; a manifest that is itself named as --source may lead anywhere."
        )
    named = {readable(name), *(image.path for image in found.images), *(entry.path for entry in found.unusable)}
    there = [*map(readable, files), *(path for folder in tree.top()[0] for path, _ in tree.below(folder))]
    detail = f"{readable(name)} does not name it"
    unnamed = [Quarantined(path, UNLABELLED, detail) for path in there if path not in named]
    return found._replace(unusable=found.unusable + unnamed)


def of_split(image: SourceImage, split: SplitName | None) -> SourceImage:
    """The image with the split of the folder that it lies in; BadInput where its own metadata name another."""
    if image.split and split and image.split != split:
        raise BadInput(
            f"{image.path} lies in the folder of {split}, but its metadata say {image.split}: expected one split. "
            "Move the file, or empty its cell."
        )
    return image._replace(split=image.split or split)


def _by_subfolder(tree: Tree, folders: list[str], files: list[str]) -> Listing:
    tables = [name for name in files if is_manifest(name)]
    hint = f" To read its manifest, name it: --source {tree.shown}/{tables[0]}" if tables else ""
    if not folders:
        raise BadInput(
            f"{tree.shown} has no subfolders: expected a subfolder a class, with the class's images in it.{hint}"
        )
    entries = {folder: tree.below(folder) for folder in folders}
    if not any(entries.values()):
        raise BadInput(f"there are no images in {tree.shown}: its {len(folders)} subfolders are empty.")
    empty = [readable(folder) for folder in folders if not entries[folder]]
    if empty:
        raise BadInput(
            f"{counted(len(empty), 'classes')} of {tree.shown} without images: {listed(empty)}. "
            "Fill or remove the subfolders."
        )
    if len(folders) == 1 and hint:
        raise BadInput(f"{tree.shown} has one subfolder ({folders[0]}): a classifier needs at least two classes.{hint}")
    inner = tree.subtree(folders[0]).top()[0] if len(folders) == 1 else []
    if len(inner) > 1:
        raise BadInput(
            f"{tree.shown} has one subfolder ({folders[0]}): a classifier needs at least two classes. If those are its "
            f"subfolders ({listed(map(readable, inner))}), name it: --source {tree.shown}/{folders[0]}"
        )
    images = [SourceImage(path, readable(folder), file) for folder in folders for path, file in entries[folder]]
    return Listing(images, _beside(files))
