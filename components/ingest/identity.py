"""Who is who among the source's files: an image's id is the sha256 of its bytes; copies are found by it."""

from collections import defaultdict
from collections.abc import Iterable

from components.ingest.pictures import Picture
from components.interchange.errors import listed
from components.interchange.ledgers import Quarantined


def without_copies(pictures: Iterable[Picture]) -> tuple[list[Picture], list[Quarantined]]:
    """One picture of each content, sorted by id, and the others: `duplicate`; all of them where the labels differ.

    Of equal files the first is kept, in the order given.
    """
    by_id: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        by_id[picture.id].append(picture)
    kept: list[Picture] = []
    copies: list[Quarantined] = []
    for image_id in sorted(by_id):
        first, *others = by_id[image_id]
        paths = [picture.source.path for picture in by_id[image_id]]
        labels = sorted({picture.source.label for picture in by_id[image_id]})
        if len(labels) > 1:
            detail = f"the same bytes are labelled {listed(labels)}: {listed(paths)}"
            copies += [Quarantined(path, "conflicting label", detail) for path in paths]
            continue
        kept.append(first)
        copies += [
            Quarantined(copy.source.path, "duplicate", f"the same bytes as {first.source.path}") for copy in others
        ]
    return kept, copies
