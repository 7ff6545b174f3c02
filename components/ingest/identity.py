"""Who is who among the source's files: an image's id is the sha256 of its bytes; copies are found by it."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from components.ingest.layouts import SourceImage
from components.interchange.errors import listed
from components.interchange.ledgers import Quarantined
from components.interchange.pixels import BrokenImage


class Identified(NamedTuple):
    """A file that has bytes, and their sha256."""

    id: str
    source: SourceImage


def identify(source: SourceImage) -> Identified | Quarantined:
    """The id of one file, or why it has none: missing, empty, too large, not an image (no file), unreadable."""
    problem = source.file.problem()
    if problem:
        return Quarantined(source.path, *problem)
    try:
        return Identified(source.file.digest(), source)
    except BrokenImage as broken:
        return Quarantined(source.path, broken.reason, broken.detail)


def without_copies(identified: Iterable[Identified]) -> tuple[list[Identified], list[Quarantined]]:
    """One file of each content, sorted by id, and the others: `duplicate`; all of them where the labels differ.

    Of equal files the first is kept, in the order given.
    """
    by_id: dict[str, list[SourceImage]] = defaultdict(list)
    for entry in identified:
        by_id[entry.id].append(entry.source)
    kept: list[Identified] = []
    copies: list[Quarantined] = []
    for image_id in sorted(by_id):
        first, *others = by_id[image_id]
        labels = sorted({image.label for image in by_id[image_id]})
        if len(labels) > 1:
            detail = f"the same bytes are labelled {listed(labels)}: {listed(i.path for i in by_id[image_id])}"
            copies += [Quarantined(image.path, "conflicting label", detail) for image in by_id[image_id]]
            continue
        kept.append(Identified(image_id, first))
        copies += [Quarantined(image.path, "duplicate", f"the same bytes as {first.path}") for image in others]
    return kept, copies
