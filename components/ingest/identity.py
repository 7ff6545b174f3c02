"""Who is who among the source's files: an image's id is the sha256 of its bytes; copies are found by it."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from components.ingest.sources import SourceImage
from components.interchange.artifact import file_digest
from components.interchange.errors import listed
from components.interchange.ledgers import Quarantined

MAX_FILE_BYTES = 1 << 30


class Identified(NamedTuple):
    """A file that has bytes, and their sha256."""

    id: str
    source: SourceImage


def identify(source: SourceImage) -> Identified | Quarantined:
    """The id of one file, or why it has none: missing, empty, too large, not an image (no file), unreadable."""
    problem = _problem(source.file)
    if problem:
        return Quarantined(source.path, *problem)
    try:
        return Identified(file_digest(source.file), source)
    except OSError as error:
        return Quarantined(source.path, "unreadable", error.strerror or type(error).__name__)


def _problem(file: Path) -> tuple[str, str] | None:
    if not file.exists():
        return "missing", "the source names a file that is not there"
    if not file.is_file():
        return "not an image", "this is no file"
    num_bytes = file.stat().st_size
    if num_bytes == 0:
        return "empty", "the file has no bytes"
    if num_bytes > MAX_FILE_BYTES:
        return "too large", f"{num_bytes} bytes; at most {MAX_FILE_BYTES} are read"
    return None


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
