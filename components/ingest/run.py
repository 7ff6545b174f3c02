"""The order of work of ingest: list, read and decode every file that is new, then settle what becomes of all."""

import logging
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from components.ingest.earlier import known_before
from components.ingest.encoding import Choice
from components.ingest.files import Stamp
from components.ingest.garbage import seldom_sought
from components.ingest.kept import Kept
from components.ingest.layouts import Listing
from components.ingest.reading import as_they_lie, found_in, list_source, read_images
from components.ingest.seen import Seen, seen_before, write_seen
from components.ingest.settlement import settle
from components.ingest.spec import Ingest
from components.ingest.spool import open_spool
from components.interchange.cores import num_cores
from components.interchange.step import RunContext

log = logging.getLogger("graft")


def run(spec: Ingest, context: RunContext) -> dict[str, object]:
    """Write a dataset and a report on it; the facts returned are times and rates."""
    started = time.perf_counter()
    spec.dataset.mkdir(parents=True)
    with seldom_sought(), TemporaryDirectory(dir=spec.dataset) as scratch, open_spool(spec.dataset) as spool:
        listing = list_source(spec, Path(scratch))
        before = known_before(spec.previous, context)
        stamps = [image.file.stamp() for image in listing.images]
        choice = Choice(spec.encoding, spec.raw_limit_gib)
        seen = _seen(spec, choice, listing, stamps)
        known = seen.entries
        new = as_they_lie(listing.images, (number for number in range(len(stamps)) if number not in known))
        with closing(read_images(spec, [listing.images[n] for n in new], spool, choice.with_another)) as read:
            became = {**known, **dict(zip(new, read, strict=True))}
        entries = [became[number] for number in range(len(stamps))]
        read_s = time.perf_counter() - started
        settled = settle(spec, spec, found_in(listing, entries), before, seen.kept)
        write_seen(spec.dataset, spec, stamps, entries, settled.stored(), settled.files())
    seconds = time.perf_counter() - started
    return {
        "source": spec.source,
        "files_read": len(new),
        "files_known": len(known),
        "num_threads": num_cores(),
        "read_s": read_s,
        "write_s": seconds - read_s,
        "images_per_s": settled.num_images / seconds,
    }


def _seen(spec: Ingest, choice: Choice, listing: Listing, stamps: list[Stamp | None]) -> Seen:
    """What an earlier ingest knows of the images."""
    earlier = spec.previous if spec.reuse is None else Path(spec.reuse)
    if earlier is None:
        return Seen({}, Kept())
    seen = seen_before(earlier, spec, choice, listing.images, stamps)
    if seen.why_not:
        log.warning("every file is decoded again, though there is %s: %s", earlier, seen.why_not)
    log.info("files_known=%d files_read=%d", len(seen.entries), len(listing.images) - len(seen.entries))
    return seen
