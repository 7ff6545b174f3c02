"""The order of work of ingest: list, read and decode every file once, then settle what becomes of it."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from components.ingest.earlier import known_before
from components.ingest.encoding import Choice
from components.ingest.parallel import num_cores
from components.ingest.reading import found_in, listed, read_images
from components.ingest.settlement import settle
from components.ingest.spec import Ingest
from components.ingest.spool import open_spool
from components.interchange.step import RunContext


def run(spec: Ingest, context: RunContext) -> dict[str, object]:
    """Write a dataset and a report on it; the facts returned are times and rates."""
    started = time.perf_counter()
    spec.dataset.mkdir(parents=True)
    with TemporaryDirectory(dir=spec.dataset) as scratch, open_spool(spec.dataset) as spool:
        listing = listed(spec, Path(scratch))
        before = known_before(spec.previous, context)
        chosen = Choice(spec.encoding, spec.raw_limit_gib).with_another
        found = found_in(listing, list(read_images(spec, listing.images, spool, chosen)))
        read_s = time.perf_counter() - started
        num_images = settle(spec, spec, found, before)
    seconds = time.perf_counter() - started
    return {
        "source": spec.source,
        "num_threads": num_cores(),
        "read_s": read_s,
        "write_s": seconds - read_s,
        "images_per_s": num_images / seconds,
    }
