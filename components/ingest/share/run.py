"""The order of work of a share: list the source, choose, read and decode. What needs the other shares waits."""

import logging
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from components.ingest.reading import all_jpeg, all_raw, as_they_lie, list_source, read_images
from components.ingest.share.spec import IngestShare
from components.ingest.shares import Passing, share_of, write_share
from components.interchange.cores import num_cores
from components.interchange.report import Row, write_report
from components.interchange.step import RunContext

log = logging.getLogger("graft")


def run(spec: IngestShare, context: RunContext) -> dict[str, object]:
    """Write a share and a report on it; the facts returned are rates."""
    started = time.perf_counter()
    spec.share.mkdir(parents=True)
    with TemporaryDirectory(dir=spec.share) as scratch:
        listing = list_source(spec, Path(scratch))
        own = (n for n, image in enumerate(listing.images) if share_of(image.path, spec.of) == spec.number)
        chosen = [listing.images[n] for n in as_they_lie(listing.images, own)]
        read = read_images(spec, chosen, Passing(), all_jpeg if spec.encoding == "jpeg" else all_raw)
        reasons = write_share(spec.share, spec, spec.number, spec.of, listing, read)
    seconds = time.perf_counter() - started
    log.info("shard=%s files=%d broken=%d", spec.shard, len(chosen), sum(reasons.values()))
    write_report(spec.report, spec, _rows(len(listing.images), len(chosen), reasons))
    return {"source": spec.source, "num_threads": num_cores(), "images_per_s": len(chosen) / seconds}


def _rows(num_listed: int, num_chosen: int, reasons: Counter[str]) -> list[Row]:
    return [
        Row(name="sources", value=num_listed, unit="files", of="all shares"),
        Row(name="sources", value=num_chosen, unit="files"),
        Row(name="broken", value=sum(reasons.values()), unit="files"),
        *(Row(name="broken", value=reasons[name], unit="files", of=name) for name in sorted(reasons)),
    ]
