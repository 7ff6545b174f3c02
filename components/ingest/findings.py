"""What ingest found, as a refusal, as rows, warnings and details of its report."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from components.ingest.drift import drift_warnings
from components.ingest.encoding import Cost
from components.ingest.layouts import SourceImage
from components.ingest.pictures import Picture
from components.ingest.placement import Placement
from components.ingest.reading import Found
from components.ingest.splits import Earlier
from components.interchange.dataset import SPLITS, ChannelStatistics
from components.interchange.errors import BadInput, counted, listed
from components.interchange.ledgers import Quarantined, Sample
from components.interchange.report import Row

NOT_BAD = (
    "duplicate",
    "near-duplicate",
    "conflicting label",
    "frozen test",
    "unlabelled",
)  # Whole files: they say nothing about the source's health.
LISTED_IN_REPORT = 100
MAX_IMBALANCE = 3.0  # Above it the report warns.
MAX_CROWD = 0.1  # Share of all images that stand on one side because of each other.


class Findings(NamedTuple):
    """All that there is to tell of a dataset: what became of each of the source's files, and figures over them.

    `usable` are all pictures that could be decoded, also those that were left out then; `quarantined` are all files
    that were left out, whatever for; `earlier` are the images of before. `counts` are images by split and class;
    `drift` has no rows without a champion.
    """

    found: Found
    usable: Sequence[Picture]
    placement: Placement
    quarantined: Sequence[Quarantined]
    earlier: Sequence[Earlier]
    counts: Mapping[str, Mapping[str, int]]
    statistics: ChannelStatistics
    drift: list[Row]
    cost: Cost

    @property
    def drifted(self) -> list[str]:
        """What moved too far since the champion, in words."""
        return drift_warnings(self.drift) if self.drift else []

    @property
    def warnings(self) -> list[str]:
        """What a user should look at, in words."""
        return _warnings(self.counts, self.placement) + self._relabelled_in_words() + self.drifted

    @property
    def relabelled(self) -> Counter[tuple[str, str]]:
        """How many of the images of before have another label now, by both."""
        if not self.earlier:
            return Counter()
        before = {image.id: image.label for image in self.earlier}
        now = [(one.id, one.source.label) for side in self.placement.sides.values() for one in side]
        both = ((before.get(image_id, label), label) for image_id, label in now)
        return Counter(pair for pair in both if pair[0] != pair[1])

    def _relabelled_in_words(self) -> list[str]:
        if not self.relabelled:
            return []
        which = listed(f"{was} -> {now} {number:,}" for (was, now), number in self.relabelled.most_common())
        number = self.relabelled.total()
        return [f"{counted(number, 'images')} had another label before ({which}): were the labels mended, or mixed up?"]


def _bad(quarantined: Iterable[Quarantined]) -> list[Quarantined]:
    return sorted(entry for entry in quarantined if entry.reason not in NOT_BAD)


def check_bad_fraction(quarantined: Iterable[Quarantined], num_sources: int, max_bad_fraction: float) -> None:
    """BadInput when more than that share of the source's files cannot be used. Copies do not count as bad."""
    bad = _bad(quarantined)
    if len(bad) > max_bad_fraction * num_sources:
        reasons = ", ".join(f"{reason} {n}" for reason, n in Counter(entry.reason for entry in bad).most_common())
        raise BadInput(
            f"{len(bad)} of {num_sources} files cannot be used ({reasons}), more than --max-bad-fraction "
            f"{max_bad_fraction:g}: {listed(f'{entry.path} ({entry.reason}: {entry.detail})' for entry in bad)}. "
            "Mend or remove them, or raise --max-bad-fraction."
        )


def check_counts(
    counts: Mapping[str, Mapping[str, int]],
    placement: Placement,
    quarantined: Iterable[Quarantined],
    sources: Iterable[SourceImage],
) -> None:
    """BadInput when a class has no image in train, val or test; it says what was left out of the class."""
    short = [label for label in counts["train"] if not all(counts[split][label] for split in SPLITS)]
    if not short:
        return
    by_path = {entry.path: entry for entry in quarantined}
    left_out = defaultdict[str, list[Quarantined]](list)
    groups = defaultdict[str, set[str]](set)
    for source in sources:
        if source.group is not None:
            groups[source.label].add(source.group)
        if source.path in by_path:
            left_out[source.label].append(by_path[source.path])
    found = listed(
        f"{label} ({', '.join(f'{split} {counts[split][label]}' for split in SPLITS)}"
        f"{f', in {len(groups[label])} groups' if label in groups else ''}{_also_left_out(left_out[label])})"
        for label in short
    )
    together = "".join(f" {said}" for said in _crowded(counts, placement))
    raise BadInput(
        f"{counted(len(short), 'classes')} with too few images for the split: {found}. Expected at least one in "
        "each of train, val and test: add images, change --val-fraction or --test-fraction, or give splits in a "
        f"manifest.{together}"
    )


def _crowded(counts: Mapping[str, Mapping[str, int]], placement: Placement) -> list[str]:
    """What to do where one crowd decides how large the splits are; a single group does as it was asked to."""
    shares = {split: sum(by_class.values()) for split, by_class in counts.items()}
    number, size = sum(shares.values()), len(placement.crowd)
    groups = {one.source.group or one.source.path for one in placement.crowd}
    if len(groups) == 1 or size <= MAX_CROWD * number:
        return []
    of = "" if len(groups) == size else f" of {len(groups)} groups"
    found = ", ".join(f"{split} {share / number:.0%}" for split, share in shares.items())
    return [
        f"{size} images{of} look alike, step by step, and stand on one side ({found}): where they are different "
        "pictures, lower --max-near-bits."
    ]


def _also_left_out(entries: Sequence[Quarantined]) -> str:
    if not entries:
        return ""
    path, reason, detail = min(entries)
    return f"; left out {len(entries)}, first {path}: {reason}, {detail}"


def rows(findings: Findings, samples: Sequence[Sample]) -> list[Row]:
    """Files and images by split, class and reason; where there were images before, what changed; and all else."""
    num_sources, quarantined = findings.found.num_files, findings.quarantined
    found = [
        Row(name="sources", value=num_sources, unit="files"),
        Row(name="bad_fraction", value=len(_bad(quarantined)) / num_sources, n=num_sources),
        Row(name="quarantined", value=len(quarantined), unit="files"),
    ]
    profiles = Counter(sample.icc for sample in samples if sample.icc)
    found += [Row(name="icc_profile", value=profiles[name], unit="images", of=name) for name in sorted(profiles)]
    reasons = Counter(entry.reason for entry in quarantined)
    found += [Row(name="quarantined", value=reasons[name], unit="files", of=name) for name in sorted(reasons)]
    for split, by_class in findings.counts.items():
        found.append(Row(name="images", value=sum(by_class.values()), unit="images", of=split))
        found += [
            Row(name="images", value=number, unit="images", of=f"{split}/{label}") for label, number in by_class.items()
        ]
    if findings.earlier:
        before = {image.id: image.split for image in findings.earlier}
        now = {sample.id: sample.split for sample in samples}
        moved = sum(before[image_id] != now[image_id] for image_id in before.keys() & now.keys())
        found += [
            Row(name="added", value=len(now.keys() - before.keys()), unit="images"),
            Row(name="removed", value=len(before.keys() - now.keys()), unit="images"),
            Row(name="moved", value=moved, unit="images"),
            Row(name="relabelled", value=findings.relabelled.total(), unit="images"),
        ]
    return found + _likeness_rows(findings.placement, findings.counts) + findings.drift + findings.cost.rows()


def _likeness_rows(placement: Placement, counts: Mapping[str, Mapping[str, int]]) -> list[Row]:
    """Sets of equal and of similar pictures, and how much larger the largest class is than the smallest."""
    mixed = sum(len({one.source.label for one in family}) > 1 for family in placement.families)
    return [
        Row(name="imbalance", value=_imbalance(counts)),
        Row(name="copies", value=len(placement.copies), unit="sets"),
        Row(name="conflicting_labels", value=len(placement.conflicts), unit="sets"),
        Row(name="near_duplicates", value=len(placement.families), unit="sets"),
        Row(name="near_duplicates", value=mixed, unit="sets", of="several labels"),
        Row(name="near_duplicates", value=sum(map(len, placement.families)), unit="images", of="images"),
    ]


def _imbalance(counts: Mapping[str, Mapping[str, int]]) -> float:
    """Images of the largest class by those of the smallest."""
    by_class = [sum(counts[split][label] for split in counts) for label in counts["train"]]
    return max(by_class) / min(by_class)


def _warnings(counts: Mapping[str, Mapping[str, int]], placement: Placement) -> list[str]:
    found = []
    ratio = _imbalance(counts)
    if ratio > MAX_IMBALANCE:
        found.append(
            f"The largest class has {ratio:.1f} times the images of the smallest (over {MAX_IMBALANCE:g}): train with "
            "finetune's --class-weights balanced, or add images to the small classes."
        )
    if same := _spelt_alike(counts["train"]):
        found.append(
            f"Classes differ in capitals, spaces or Unicode form alone: {listed(same)}. If they are one, give it one "
            "name."
        )
    if placement.stood_in:
        found.append(
            f"{len(placement.stood_in):,} of {len(counts['train']):,} classes are so small that the hash left a split "
            f"without an image of them, and the nearest stands in: {listed(placement.stood_in)}. Their figures on val "
            "and test say little."
        )
    if stayed := placement.beside_frozen:
        which = listed(sorted(one.source.path for one in stayed))
        found.append(
            f"{counted(len(stayed), 'images')} that --test-manifest does not name stay in the test set, as they stood "
            f"there before: {which}. Name them there, or take them out of the source."
        )
    if placement.conflicts:
        left_out = sum(entry.reason == "conflicting label" for entry in placement.quarantined)
        became = f"{counted(left_out, 'files')} left out for it" if left_out else "one file of each is kept"
        found.append(
            f"{counted(len(placement.conflicts), 'pictures')} under several labels: "
            f"{listed(map(_with_labels, placement.conflicts))}; {became}. Give each one label."
        )
    found += _crowded(counts, placement)
    return found


def _with_labels(alike: Iterable[Picture]) -> str:
    return " and ".join(dict.fromkeys(f"{one.source.path} ({one.source.label})" for one in alike))


def _spelt_alike(labels: Iterable[str]) -> list[str]:
    by_spelling = defaultdict[str, list[str]](list)
    for label in labels:
        by_spelling["".join(unicodedata.normalize("NFKC", label).casefold().split())].append(repr(label))
    return [" and ".join(alike) for alike in by_spelling.values() if len(alike) > 1]


def details(findings: Findings, manifest: Mapping[str, Any], num_originals: int, stopped: bool) -> dict[str, Any]:
    """What is no row: classes, statistics, split policy, the first quarantined files, what to look at."""
    return {
        "classes": manifest["classes"],
        "statistics": manifest["statistics"],
        "split_policy": manifest["split_policy"],
        "stored_size_px": manifest["stored_size_px"],
        "originals": num_originals,
        "quarantine": [entry._asdict() for entry in sorted(findings.quarantined)[:LISTED_IN_REPORT]],
        "warnings": findings.warnings,
        "drifted": findings.drifted,
        "stopped": stopped,
        "storage": findings.cost.sentences(),
    }
