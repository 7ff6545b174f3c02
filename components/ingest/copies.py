"""The same picture more than once: equal bytes, or other bytes that decode to equal pixels."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from components.ingest.pictures import Picture
from components.ingest.spec import OnConflict
from components.interchange.dataset import SplitName
from components.interchange.errors import listed
from components.interchange.ledgers import Quarantined

PRECEDENCE: dict[SplitName | None, int] = {"test": 0, "val": 1, "train": 2, None: 3}  # Of copies, which one stays.


class Distinct(NamedTuple):
    """One picture of each content, sorted by id; the files that are left out; and of those the pictures in pairs."""

    pictures: list[Picture]
    quarantined: list[Quarantined]
    conflicts: list[list[Picture]]
    copies: list[list[Picture]]


def without_copies(
    pictures: Iterable[Picture],
    side_of: Callable[[Picture], SplitName | None],
    groups_before: Mapping[str, str | None],
    on_conflict: OnConflict,
) -> Distinct:
    """Keep one picture of each content: `duplicate`. Where their labels differ, none: `conflicting label`.

    `side_of` is the split that a picture has already, if any: the copy in test is kept before those in val and train,
    then the one of the group that its id had, if that is known, else the first by path. With `on_conflict` `first`,
    labels that differ make no difference.
    """

    def place(one: Picture) -> tuple[int, bool, str]:
        moved = one.source.group != groups_before.get(one.id, one.source.group)
        return PRECEDENCE[side_of(one)], moved, one.source.path

    same: dict[tuple[str, int, int], list[Picture]] = defaultdict(list)
    for picture in pictures:
        same[picture.pixels_sha256, picture.stored_width_px, picture.stored_height_px].append(picture)
    found = Distinct([], [], [], [])
    for alike in same.values():
        if len(alike) == 1:
            found.pictures.append(alike[0])
            continue
        first, *others = sorted(alike, key=place)
        labels = sorted({picture.source.label for picture in alike})
        if len(labels) > 1:
            found.conflicts.append([first, *others])
        else:
            found.copies.append([first, *others])
        if len(labels) > 1 and on_conflict == "quarantine":
            found.quarantined.extend(_conflicting([first, *others], labels))
        else:
            found.pictures.append(first)
            found.quarantined.extend(_duplicate(copy, first) for copy in others)
    found.pictures.sort(key=lambda picture: picture.id)
    return found


def _conflicting(alike: Sequence[Picture], labels: Sequence[str]) -> list[Quarantined]:
    paths = [picture.source.path for picture in alike]
    what = "bytes" if len({picture.id for picture in alike}) == 1 else "pixels"
    detail = f"the same {what} are labelled {listed(labels)}: {listed(paths)}"
    return [Quarantined(path, "conflicting label", detail) for path in paths]


def _duplicate(copy: Picture, first: Picture) -> Quarantined:
    what = "bytes" if copy.id == first.id else "pixels"
    again = "named again" if copy.source.path == first.source.path else f"the same {what} as {first.source.path}"
    labelled = "" if copy.source.label == first.source.label else f", labelled {first.source.label}"
    return Quarantined(copy.source.path, "duplicate", f"{again}{labelled}")
