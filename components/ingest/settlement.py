"""From what was read to a dataset: leave out copies, give every image its side, write shards, ledgers and a report."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from components.ingest.drift import drift_rows, drift_rows_of_new
from components.ingest.earlier import Before, check_labels, frozen_test
from components.ingest.encoding import Choice, Cost, difference_from, encoded_as
from components.ingest.findings import Findings, check_bad_fraction, check_counts, details, rows
from components.ingest.kept import Kept, original_of
from components.ingest.layouts import SourceImage
from components.ingest.missing_split import with_all_splits
from components.ingest.originals import copy_originals
from components.ingest.page import ingest_page
from components.ingest.pictures import Picture
from components.ingest.placement import Placement, placed
from components.ingest.reading import Found
from components.ingest.seen import Place
from components.ingest.shards import WrittenSplit, write_split
from components.ingest.spec import Reading, Settling
from components.ingest.splits import Policy, count
from components.ingest.statistics import channel_statistics
from components.interchange.artifact import write_card
from components.interchange.dataset import ORIGINALS_FOLDER, SPLITS, ChannelStatistics, SplitName
from components.interchange.errors import BadInput
from components.interchange.ledgers import write_quarantine, write_samples
from components.interchange.lineage import Lineage
from components.interchange.report import Row, write_report

log = logging.getLogger("graft")
NUM_ORIGINALS = 64


class Settled(NamedTuple):
    """A dataset that was written: its splits, and the names of its originals."""

    splits: Mapping[SplitName, WrittenSplit]
    originals: Sequence[str]

    @property
    def num_images(self) -> int:
        """How many images were taken."""
        return sum(len(split.samples) for split in self.splits.values())

    def stored(self) -> dict[str, Place]:
        """By id, where each image is stored."""
        shards = (shard for split in self.splits.values() for shard in split.shards)
        places = (Place(each, shard.name, row) for shard in shards for row, each in enumerate(shard.sha256s))
        ids = (sample.id for split in self.splits.values() for sample in split.samples)
        return dict(zip(ids, places, strict=True))

    def files(self) -> Iterator[tuple[str, str, int]]:
        """Shards and originals, as `kept.metadata_of` takes them."""
        for split in self.splits.values():
            yield from ((shard.holding, shard.name, shard.num_bytes) for shard in split.shards)
        yield from ((original_of(name), f"{ORIGINALS_FOLDER}/{name}", 0) for name in self.originals)


def settle(spec: Settling, reading: Reading, found: Found, before: Before, kept: Kept = Kept()) -> Settled:  # noqa: B008
    """Write the dataset and the report on it.

    `reading` is how the images were read; their pixels and the source's files must still be there. What is `kept` of an
    earlier dataset is taken over where it is what must be written.
    """
    check_bad_fraction(found.broken, found.num_files, spec.max_bad_fraction)
    choice = _choice(spec, found.pictures)
    pictures = [encoded_as(picture, choice.encoding) for picture in found.pictures]
    placement = _placed(spec, reading, found, pictures, before)
    sides, quarantined = placement.sides, found.broken + placement.quarantined
    counts = count(((split, one.source.label) for split, side in sides.items() for one in side), found.classes)
    sources = chain(found.unusable.values(), (picture.source for picture in pictures))
    check_counts(counts, placement, quarantined, sources)
    written = {
        split: write_split(spec.dataset, split, side, found.classes, choice.encoding, kept)
        for split, side in sides.items()
    }
    originals = copy_originals(spec.dataset / ORIGINALS_FOLDER, sides["test"], NUM_ORIGINALS, kept)
    statistics = channel_statistics(picture.sums for picture in sides["train"])
    drift = _drift(counts, statistics, sides, before.lineage) if before.lineage else []
    cost = _cost(spec, reading, choice, sides, written)
    findings = Findings(found, pictures, placement, quarantined, before.images, counts, statistics, drift, cost)
    settled = Settled(written, originals)
    _write(spec, reading, findings, settled)
    if spec.on_drift == "stop" and before.lineage is None:
        log.info("drift=not judged: there is no champion to compare with")
    _log(findings, settled.num_images)
    return settled


def _drift(
    counts: Mapping[str, Mapping[str, int]],
    statistics: ChannelStatistics,
    sides: Mapping[SplitName, list[Picture]],
    lineage: Lineage,
) -> list[Row]:
    known = {image.id for image in lineage.images}
    of_new = drift_rows_of_new(chain(*sides.values()), known, lineage.facts)
    return drift_rows(counts, statistics, lineage.facts) + of_new


def _placed(spec: Settling, reading: Reading, found: Found, pictures: list[Picture], before: Before) -> Placement:
    """Who stands where. BadInput where images of a test manifest have several labels, of which none would stay."""
    pictures, policy, earlier = with_all_splits(pictures, _policy(spec, reading, found), before.images)
    placement = placed(pictures, earlier, policy, spec.on_conflict)
    if spec.test_manifest is not None and policy.frozen and spec.on_conflict == "quarantine":
        check_labels(spec.test_manifest, policy.frozen, placement.conflicts)
    return placement


def _write(spec: Settling, reading: Reading, findings: Findings, settled: Settled) -> None:
    """Ledgers, manifest, report and the word on drift."""
    html = ingest_page(findings, spec.val_fraction, spec.test_fraction)
    samples = [sample for split in SPLITS for sample in settled.splits[split].samples]
    write_samples(spec.dataset, samples)
    write_quarantine(spec.dataset, findings.quarantined)
    manifest = _manifest(spec, reading, findings, settled.splits)
    write_card(spec.dataset, "dataset", manifest)
    stopped = bool(findings.drifted) and spec.on_drift == "stop"
    told = details(findings, manifest, len(settled.originals), stopped)
    write_report(spec.report, spec, rows(findings, samples), told, html)
    if spec.drift is not None:
        spec.drift.write_text("stop" if stopped else "go_on", encoding="utf-8")  # No newline: Kubeflow compares it.


def _log(findings: Findings, num_images: int) -> None:
    for warning in findings.warnings:
        log.warning("%s", warning)
    reasons = Counter(entry.reason for entry in findings.quarantined).most_common()
    if reasons:
        log.info("left out: %s", ", ".join(f"{reason} {number}" for reason, number in reasons))
    facts = (num_images, len(findings.found.classes), len(findings.quarantined), findings.cost.encoding)
    log.info("images=%d classes=%d quarantined=%d encoding=%s", *facts)


def _choice(spec: Settling, pictures: list[Picture]) -> Choice:
    choice = Choice(spec.encoding, spec.raw_limit_gib)
    choice.with_another(3 * sum(picture.sums.num_pixels for picture in pictures))
    if choice.encoding == "raw" and any(picture.encoding == "jpeg" for picture in pictures):
        raise BadInput(
            f"the shares hold JPEGs, and the dataset is to have raw pixels ({choice.because()}). Give the merge "
            "--encoding jpeg, as its shares had, or make them again without."
        )
    return choice


def _cost(
    spec: Settling,
    reading: Reading,
    choice: Choice,
    sides: dict[SplitName, list[Picture]],
    written: dict[SplitName, WrittenSplit],
) -> Cost:
    lost = None
    if choice.encoding == "jpeg":
        by_id = {picture.id: picture for picture in sides["test"]}
        lost = difference_from(spec.dataset / ORIGINALS_FOLDER, by_id, reading.stored_size_px, reading.interpolation)
    raw_bytes = 3 * sum(picture.sums.num_pixels for side in sides.values() for picture in side)
    return Cost(choice.encoding, choice.because(), sum(one.num_bytes for one in written.values()), raw_bytes, lost)


def _policy(spec: Settling, reading: Reading, found: Found) -> Policy:
    frozen = None
    if spec.test_manifest is not None:
        frozen = frozen_test(spec.test_manifest, reading, found)
    return Policy(spec.val_fraction, spec.test_fraction, spec.max_near_bits, frozen)


def _split_by(source: SourceImage) -> str:
    if source.split is not None:
        return "source"
    return "content" if source.group is None else "group"


def _manifest(
    spec: Settling, reading: Reading, findings: Findings, written: Mapping[SplitName, WrittenSplit]
) -> dict[str, Any]:
    fractions = {"val_fraction": spec.val_fraction, "test_fraction": spec.test_fraction}
    split_by = sorted({_split_by(picture.source) for side in findings.placement.sides.values() for picture in side})
    return {
        "classes": findings.found.classes,
        "stored_size_px": reading.stored_size_px,
        "interpolation": reading.interpolation,
        "encoding": findings.cost.encoding,
        "counts": findings.counts,
        "quarantined": len(findings.quarantined),
        "split_policy": {"by": split_by, **fractions, "max_near_bits": spec.max_near_bits},
        "shards": {split: [shard.name for shard in one.shards] for split, one in written.items()},
        "digests": {split: one.digest for split, one in written.items()},
        "statistics": findings.statistics.model_dump(mode="json"),
    }
