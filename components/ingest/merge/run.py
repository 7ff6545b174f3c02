"""The order of work of ingest_merge: hold the shares against each other and the source, join them, then as ingest."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from components.ingest.earlier import known_before
from components.ingest.garbage import seldom_sought
from components.ingest.merge.joining import check_source, entries_of, opened_together
from components.ingest.merge.spec import IngestMerge
from components.ingest.reading import found_in, list_source
from components.ingest.settlement import settle
from components.interchange.step import RunContext


def run(spec: IngestMerge, context: RunContext) -> dict[str, object]:
    """Write a dataset and a report on it; the facts returned are rates."""
    started = time.perf_counter()
    shares, reading = opened_together(spec.shares, spec.source)
    spec.dataset.mkdir(parents=True)
    with seldom_sought(), TemporaryDirectory(dir=spec.dataset) as scratch:
        listing = list_source(reading, Path(scratch))
        check_source(shares, listing)
        before = known_before(spec.previous, context)
        found = found_in(listing, list(entries_of(shares, listing.images)))
        num_images = settle(spec, reading, found, before).num_images
    return {
        "source": spec.source,
        "num_shares": len(shares),
        "images_per_s": num_images / (time.perf_counter() - started),
    }
