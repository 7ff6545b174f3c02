"""Shares that belong together: all of one source, read in one way, each there once."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.ingest.layouts import Listing, SourceImage
from components.ingest.pictures import Picture
from components.ingest.shares import Share, ShareCard, listing_digest, open_share, read_entries, share_of
from components.ingest.spec import Reading
from components.interchange.errors import BadInput, listed
from components.interchange.ledgers import Quarantined
from components.interchange.step import flag


def opened_together(folders: Sequence[Path], source: str) -> tuple[list[Share], Reading]:
    """The shares by number, and how their images were read. BadInput lists all that does not fit together."""
    shares = sorted((open_share(folder) for folder in folders), key=lambda share: share.card.number)
    problems = [*_incomplete(shares), *_different(shares)]
    if problems:
        raise BadInput(
            f"these {len(shares)} shares are no whole: {'; '.join(problems)}. Expected --shards to name each share of "
            "one ingest once: make those that do not fit again, with the same source and parameters."
        )
    return shares, Reading.model_validate({**shares[0].card.reading, "source": source})


def check_source(shares: Sequence[Share], listing: Listing) -> None:
    """BadInput where the source does not list what it listed when the shares were made."""
    card = shares[0].card
    if listing_digest(listing) != card.listing:
        raise BadInput(
            f"the source is not the one of the shares: it has {len(listing.images)} labelled files, and had "
            f"{card.listed} when they were read; a path, a label, a split or a group differs. Expected the same "
            "--source, unchanged: make the shares again. Where files come in all the time, let --source be a manifest, "
            "which names what is to be read."
        )


def entries_of(shares: Sequence[Share], images: Sequence[SourceImage]) -> Iterator[Picture | Quarantined]:
    """What became of each image, in the order of the images."""
    belonging: dict[int, list[SourceImage]] = defaultdict(list)
    for image in images:
        belonging[share_of(image.path, len(shares))].append(image)
    read = {one.card.number: iter(read_entries(one, belonging[one.card.number])) for one in shares}
    return (next(read[share_of(image.path, len(shares))]) for image in images)


def _incomplete(shares: Sequence[Share]) -> Iterator[str]:
    by_count: dict[int, list[Share]] = defaultdict(list)
    by_number: dict[int, list[Share]] = defaultdict(list)
    for share in shares:
        by_count[share.card.of].append(share)
        by_number[share.card.number].append(share)
    if len(by_count) > 1:
        yield f"they are of divisions into {listed(sorted(by_count))}: {listed(share.shown for share in shares)}"
        return
    several = [
        f"{number}: {listed(str(one.folder) for one in found)}" for number, found in by_number.items() if found[1:]
    ]
    if several:
        yield f"more than one share of a number: {listed(several)}"
    missing = [f"{number}/{of}" for of in by_count for number in range(1, of + 1) if number not in by_number]
    if missing:
        yield f"missing: {listed(missing)}"


def _different(shares: Sequence[Share]) -> Iterator[str]:
    facts = [(share.shown, _facts(share.card)) for share in shares]
    for fact in sorted({fact for _, found in facts for fact in found}):
        if len({found.get(fact) for _, found in facts}) > 1:
            yield f"{fact} differs: {listed(f'{shown} {found.get(fact)}' for shown, found in facts)}"


def _facts(card: ShareCard) -> dict[str, str]:
    """What must be equal in all shares."""
    flags = {flag(name): str(value) for name, value in card.reading.items()}
    return {**flags, **card.decided_by, "the source": f"{card.listed} files, digest {card.listing[:12]}"}
