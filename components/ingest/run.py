"""The order of work of ingest: list, identify, split, decode split by split into shards, write the ledgers."""

import logging
import time
from pathlib import Path
from typing import Any

from components.ingest.files import SourceFile
from components.ingest.findings import check_bad_fraction, details, rows
from components.ingest.identity import Identified, identify, without_copies
from components.ingest.layouts import SourceImage
from components.ingest.manifests import Columns
from components.ingest.parallel import in_order, num_cores
from components.ingest.shards import SplitWriter
from components.ingest.sources import read_source
from components.ingest.spec import Ingest
from components.ingest.splits import Member, assign, check_counts, count
from components.interchange.artifact import write_card
from components.interchange.dataset import ORIGINALS_FOLDER, SPLITS, SplitName, open_dataset
from components.interchange.ledgers import Quarantined, Sample, write_quarantine, write_samples
from components.interchange.progress import progress
from components.interchange.report import write_report
from components.interchange.step import RunContext

log = logging.getLogger("graft")
NUM_ORIGINALS = 64


def run(spec: Ingest, context: RunContext) -> dict[str, object]:
    """Write a dataset and a report on it; the facts returned are times and rates."""
    started = time.perf_counter()
    sources, unusable = read_source(spec.source, _columns(spec))
    num_files = len(sources) + len(unusable)
    classes = sorted({image.label for image in sources})
    found = _identify(sources)
    entries, copies = without_copies(entry for entry in found if isinstance(entry, Identified))
    quarantined = unusable + copies + [entry for entry in found if isinstance(entry, Quarantined)]
    check_bad_fraction(quarantined, num_files, spec.max_bad_fraction)
    previous = open_dataset(spec.previous).samples() if spec.previous else []
    members = [Member(entry.id, entry.source.group, entry.source.split) for entry in entries]
    splits = assign(members, spec.val_fraction, spec.test_fraction, previous)
    check_counts(count(((splits[entry.id], entry.source.label) for entry in entries), classes))
    read_s = time.perf_counter() - started

    writers = _write_splits(spec, classes, entries, splits)
    quarantined += [entry for split in SPLITS for entry in writers[split].quarantined]
    samples = [sample for split in SPLITS for sample in writers[split].samples]
    check_bad_fraction(quarantined, num_files, spec.max_bad_fraction)
    counts = count(((splits[sample.id], sample.label) for sample in samples), classes)
    check_counts(counts)

    originals = writers["test"].samples[:NUM_ORIGINALS]
    _copy_originals(spec.dataset / ORIGINALS_FOLDER, originals, {entry.id: entry.source.file for entry in entries})
    write_samples(spec.dataset, samples)
    write_quarantine(spec.dataset, quarantined)
    manifest = _manifest(
        spec, writers, counts, len(quarantined), sorted({_split_by(entry.source) for entry in entries})
    )
    write_card(spec.dataset, "dataset", manifest)
    figures = rows(counts, num_files, quarantined, samples, previous)
    write_report(spec.report, spec, figures, details(quarantined, manifest, len(originals)))
    seconds = time.perf_counter() - started
    log.info("images=%d classes=%d quarantined=%d", len(samples), len(classes), len(quarantined))
    return {
        "source": spec.source,
        "num_threads": num_cores(),
        "read_s": read_s,
        "decode_s": seconds - read_s,
        "images_per_s": len(samples) / seconds,
    }


def _columns(spec: Ingest) -> Columns:
    fields = Ingest.model_fields
    # A manifest need not have the optional columns, unless they were asked for by another name.
    named = {"split_column": spec.split_column, "group_column": spec.group_column}
    required = frozenset(value for name, value in named.items() if value != fields[name].default)
    metadata = {} if spec.image_column == fields["image_column"].default else {"metadata_image": spec.image_column}
    return Columns(spec.image_column, spec.label_column, spec.split_column, spec.group_column, required, **metadata)


def _identify(sources: list[SourceImage]) -> list[Identified | Quarantined]:
    entries = in_order(identify, sources, num_cores())
    return list(progress(entries, "ingest: reading files", total=len(sources), unit=" files"))


def _split_by(source: SourceImage) -> str:
    if source.split is not None:
        return "source"
    return "content" if source.group is None else "group"


def _write_splits(
    spec: Ingest, classes: list[str], entries: list[Identified], splits: dict[str, SplitName]
) -> dict[SplitName, SplitWriter]:
    spec.dataset.mkdir(parents=True)
    writers = {split: SplitWriter(split, classes, spec.stored_size_px, spec.interpolation) for split in SPLITS}
    for split, writer in writers.items():
        writer.write(spec.dataset, [entry for entry in entries if splits[entry.id] == split], num_cores())
    return writers


def _copy_originals(folder: Path, test: list[Sample], files: dict[str, SourceFile]) -> None:
    """The test files, untouched. The first by id are a choice by hash."""
    folder.mkdir()
    for sample in test:
        (folder / f"{sample.id}{Path(sample.path).suffix}").write_bytes(files[sample.id].read())


def _manifest(
    spec: Ingest,
    writers: dict[SplitName, SplitWriter],
    counts: dict[str, dict[str, int]],
    num_quarantined: int,
    split_by: list[str],
) -> dict[str, Any]:
    fractions = {"val_fraction": spec.val_fraction, "test_fraction": spec.test_fraction}
    return {
        "classes": writers["train"].classes,
        "stored_size_px": spec.stored_size_px,
        "interpolation": spec.interpolation,
        "counts": counts,
        "quarantined": num_quarantined,
        "split_policy": {"by": split_by, **fractions},
        "shards": {split: writer.shards for split, writer in writers.items()},
        "digests": {split: writer.tally.digest() for split, writer in writers.items()},
        "statistics": writers["train"].tally.channels().model_dump(mode="json"),
    }
