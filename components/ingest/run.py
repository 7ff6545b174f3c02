"""The order of work of ingest: list, read and decode every file once, split, write the shards and the ledgers."""

import logging
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.ingest.drift import drift_rows, drift_warnings
from components.ingest.earlier import champion_lineage, earlier_images, frozen_test
from components.ingest.files import SourceFile
from components.ingest.findings import check_bad_fraction, details, likeness_rows, rows, warnings
from components.ingest.layouts import SourceImage
from components.ingest.manifests import Columns
from components.ingest.originals import copy_originals
from components.ingest.page import ingest_page
from components.ingest.parallel import in_order, num_cores
from components.ingest.pictures import Picture, read_picture
from components.ingest.placement import placed
from components.ingest.remote import fetched_ahead
from components.ingest.shards import WrittenSplit, write_split
from components.ingest.sources import read_source
from components.ingest.spec import Ingest
from components.ingest.splits import Policy, check_counts, count
from components.ingest.spool import Spool, open_spool
from components.ingest.statistics import channel_statistics
from components.interchange.artifact import write_card
from components.interchange.dataset import ORIGINALS_FOLDER, SPLITS, ChannelStatistics, SplitName
from components.interchange.ledgers import Quarantined, write_quarantine, write_samples
from components.interchange.progress import progress
from components.interchange.report import write_report
from components.interchange.s3_objects import SCHEME
from components.interchange.step import RunContext

log = logging.getLogger("graft")
NUM_ORIGINALS = 64


def run(spec: Ingest, context: RunContext) -> dict[str, object]:
    """Write a dataset and a report on it; the facts returned are times and rates."""
    started = time.perf_counter()
    spec.dataset.mkdir(parents=True)
    with TemporaryDirectory(dir=spec.dataset) as scratch, open_spool(spec.dataset) as spool:
        sources, unusable = read_source(spec.source, _columns(spec), Path(scratch))
        num_files = len(sources) + len(unusable)
        classes = sorted({image.label for image in sources})
        lineage = champion_lineage(context)
        earlier = earlier_images(spec.previous, lineage)
        found = _read(spec, sources, spool)
        usable = [entry for entry in found if isinstance(entry, Picture)]
        broken = unusable + [entry for entry in found if isinstance(entry, Quarantined)]
        check_bad_fraction(broken, num_files, spec.max_bad_fraction)
        placement = placed(usable, earlier, _policy(spec, usable), spec.on_conflict)
        sides, quarantined = placement.sides, broken + placement.quarantined
        counts = count(((split, one.source.label) for split, side in sides.items() for one in side), classes)
        check_counts(counts, placement.largest_family)
        read_s = time.perf_counter() - started
        written = {split: write_split(spec.dataset, split, side, classes) for split, side in sides.items()}
        statistics = channel_statistics(picture.sums for picture in sides["train"])
        drift = drift_rows(counts, statistics, lineage.facts) if lineage else []
        worth_saying = warnings(counts, placement.largest_family) + (drift_warnings(drift) if drift else [])
        html = ingest_page(
            num_files, placement, quarantined, counts, spec.val_fraction, spec.test_fraction, statistics, worth_saying
        )
        originals = copy_originals(spec.dataset / ORIGINALS_FOLDER, sides["test"], NUM_ORIGINALS)

    samples = [sample for split in SPLITS for sample in written[split].samples]
    write_samples(spec.dataset, samples)
    write_quarantine(spec.dataset, quarantined)
    manifest = _manifest(spec, classes, counts, len(quarantined), sides, written, statistics)
    write_card(spec.dataset, "dataset", manifest)
    figures = rows(counts, num_files, quarantined, samples, earlier) + likeness_rows(placement, counts) + drift
    told = details(quarantined, manifest, originals) | {"warnings": worth_saying}
    write_report(spec.report, spec, figures, told, html)
    for warning in worth_saying:
        log.warning("%s", warning)
    seconds = time.perf_counter() - started
    log.info("images=%d classes=%d quarantined=%d", len(samples), len(classes), len(quarantined))
    return {
        "source": spec.source,
        "num_threads": num_cores(),
        "read_s": read_s,
        "write_s": seconds - read_s,
        "images_per_s": len(samples) / seconds,
    }


def _columns(spec: Ingest) -> Columns:
    fields = Ingest.model_fields
    # A manifest need not have the optional columns, unless they were asked for by another name.
    named = {"split_column": spec.split_column, "group_column": spec.group_column}
    required = frozenset(value for name, value in named.items() if value != fields[name].default)
    metadata = {} if spec.image_column == fields["image_column"].default else {"metadata_image": spec.image_column}
    return Columns(spec.image_column, spec.label_column, spec.split_column, spec.group_column, required, **metadata)


def _read(spec: Ingest, sources: list[SourceImage], spool: Spool) -> list[Picture | Quarantined]:
    def read(image: tuple[SourceImage, SourceFile]) -> Picture | Quarantined:
        return read_picture(*image, spec.stored_size_px, spec.interpolation, spool)

    files = fetched_ahead(sources) if spec.source.startswith(SCHEME) else ((one, one.file) for one in sources)
    entries = in_order(read, files, num_cores())
    return list(progress(entries, "ingest: reading images", total=len(sources)))


def _policy(spec: Ingest, pictures: list[Picture]) -> Policy:
    frozen = None
    if spec.test_manifest is not None:
        frozen = frozen_test(spec.test_manifest, spec.image_column, spec.split_column, pictures)
    return Policy(spec.val_fraction, spec.test_fraction, spec.max_near_bits, frozen)


def _split_by(source: SourceImage) -> str:
    if source.split is not None:
        return "source"
    return "content" if source.group is None else "group"


def _manifest(
    spec: Ingest,
    classes: list[str],
    counts: dict[str, dict[str, int]],
    num_quarantined: int,
    sides: dict[SplitName, list[Picture]],
    written: dict[SplitName, WrittenSplit],
    statistics: ChannelStatistics,
) -> dict[str, Any]:
    fractions = {"val_fraction": spec.val_fraction, "test_fraction": spec.test_fraction}
    split_by = sorted({_split_by(picture.source) for side in sides.values() for picture in side})
    return {
        "classes": classes,
        "stored_size_px": spec.stored_size_px,
        "interpolation": spec.interpolation,
        "counts": counts,
        "quarantined": num_quarantined,
        "split_policy": {"by": split_by, **fractions, "max_near_bits": spec.max_near_bits},
        "shards": {split: one.shards for split, one in written.items()},
        "digests": {split: one.digest for split, one in written.items()},
        "statistics": statistics.model_dump(mode="json"),
    }
