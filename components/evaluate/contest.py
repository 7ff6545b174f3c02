"""Entrants against each other and the winner against the champion: rows, and the choice.

Legend: N images, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.evaluate import champion_model, leaks
from components.evaluate.bootstrap import Interval
from components.evaluate.leaks import Leaks
from components.evaluate.proportions import share
from components.evaluate.scores import Intervals, paired_class_rows, paired_rows, row_of, score_rows
from components.evaluate.selection import Selection, only_one, select
from components.interchange import scoring
from components.interchange.cards import ClassifierCard, OnnxCard
from components.interchange.champion import Champion
from components.interchange.dataset import Dataset, Split, SplitName
from components.interchange.onnx_model import open_model
from components.interchange.report import Row
from components.interchange.scoring import Labels

SHARED_TO_COMPARE = 2


@dataclass(frozen=True)
class Entrant:
    """A classifier of this run with its logits [N, C] by split; `of` is `baseline` or `candidate`."""

    of: str
    card: ClassifierCard
    logits: Mapping[SplitName, NDArray[np.float32]]

    @property
    def classes(self) -> list[str]:
        return self.card.classes

    def divided_by(self, temperature: float) -> "Entrant":
        """The same entrant with its logits divided by a temperature, as in production."""
        return replace(self, logits={split: logits_NC / temperature for split, logits_NC in self.logits.items()})


@dataclass(frozen=True)
class Duel:
    """What came out of the comparison with the champion."""

    facts: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    confused: dict[str, list[list[int]]] = field(default_factory=dict)


def entrant_rows(entrant: Entrant, labels: Mapping[SplitName, Labels], intervals: Intervals) -> list[Row]:
    """Score rows of one entrant on every split."""
    return [
        row
        for split, labels_N in labels.items()
        for row in score_rows(entrant.logits[split], labels_N, entrant.classes, intervals, of=entrant.of, split=split)
    ]


def choose(
    entrants: Mapping[str, Entrant], labels: Mapping[SplitName, Labels], intervals: Intervals
) -> tuple[Selection, list[Row]]:
    """The winner, and the rows of the paired differences candidate-baseline that it rests on."""
    if len(entrants) == 1:
        return only_one("finetune" if "candidate" in entrants else "feature_extraction"), []
    candidate, baseline = entrants["candidate"], entrants["baseline"]
    rows = [
        row
        for split, labels_N in labels.items()
        for row in paired_rows(
            candidate.logits[split], baseline.logits[split], labels_N, intervals, of="candidate-baseline", split=split
        )
    ]
    rows += paired_class_rows(
        candidate.logits["test"],
        baseline.logits["test"],
        labels["test"],
        candidate.classes,
        of="candidate-baseline",
        split="test",
    )
    baseline_val, candidate_val = (scoring.top1(one.logits["val"], labels["val"]) for one in (baseline, candidate))
    gain = next(row for row in rows if (row.name, row.split) == ("top1_difference", "test"))
    interval = Interval(*(float(bound or 0) for bound in (gain.value, gain.low, gain.high)))
    return select(baseline_val, candidate_val, interval), rows


class Opponent(NamedTuple):
    """The champion, its folder, checked, and its model, opened."""

    champion: Champion
    folder: Path
    session: Any
    card: OnnxCard


def opened(champion: Champion) -> Opponent:
    """The champion ready to be scored; BadInput where it is damaged."""
    folder = champion.fetch()
    return Opponent(champion, folder, *open_model(folder))


def against_champion(
    opponent: Opponent,
    winner: Entrant,
    dataset: Dataset,
    splits: Mapping[SplitName, Split],
    intervals: Intervals,
    batch_size: int,
    max_near_bits: int,
) -> Duel:
    """The champion's rows and the paired differences selected-champion, on the classes that both sides know.

    The champion is scored as it answers in production, with its own temperature; on test once on all images, and once
    (`_adjusted`) without those that it was trained on.
    """
    champion, folder, session, card = opponent
    classes = champion_model.compare_classes(dataset.classes, card.classes)
    kept = {"latency", "provider", "num_threads", "processor", "noisy"}
    record = champion.record.model_dump(mode="json", include=kept)
    facts = {
        "digest": champion.digest,
        "shared_classes": classes.shared,
        "added_classes": classes.added,
        "removed_classes": classes.removed,
        "prepared": champion_model.how_prepared(card.preprocessing, dataset.manifest),
        **record,
    }
    duel = Duel(facts)
    if len(classes.shared) < SHARED_TO_COMPARE:
        return duel
    for name, split in splits.items():
        logits_NC = champion_model.champion_logits(
            session, split, card.preprocessing, dataset.manifest.stored_size_px, batch_size
        )
        logits_NC = logits_NC / card.temperature
        truths = [dataset.classes[label] for label in split.labels_N]
        theirs = champion_model.on_shared(logits_NC, card.classes, truths, classes.shared)
        ours = champion_model.on_shared(winner.logits[name], winner.classes, truths, classes.shared)
        duel.rows.extend(score_rows(*theirs, classes.shared, intervals, of="champion", split=name))
        duel.rows.extend(paired_rows(ours.logits_NS, *theirs, intervals, of="selected-champion", split=name))
        if name == "test":
            duel.confused["champion"] = scoring.confusion_cells(theirs.labels_N, theirs.logits_NS.argmax(axis=1))
            found = leaked(folder, dataset, split, max_near_bits)
            duel.facts["leaks"] = {name: getattr(found, name) for name in ("exact", "near", "how", "compared")}
            shared = set(classes.shared)
            clean_N = ~found.leaked_N[[row for row, truth in enumerate(truths) if truth in shared]]
            adjusted = without_leaks(ours, theirs, clean_N, classes.shared, intervals)
            duel.rows.extend(row for row in adjusted if found.compared or not row.name.endswith("_adjusted"))
    return duel


def leaked(champion: Path, dataset: Dataset, test: Split, max_bits: int) -> Leaks:
    """Which test images the champion knows from its training."""
    hashes = {sample.id: sample.phash for sample in dataset.samples()}
    return leaks.find(champion, test.ids, [hashes[source_id] for source_id in test.ids], max_bits)


def without_leaks(
    ours: champion_model.Shared,
    theirs: champion_model.Shared,
    clean_N: NDArray[np.bool_],
    shared: Sequence[str],
    intervals: Intervals,
) -> list[Row]:
    """Test rows on the images that the champion does not know: `_adjusted`, and the recall of each class.

    Their values are null where it knows every image.
    """
    labels_N = theirs.labels_N[clean_N]
    ours_NS, theirs_NS = ours.logits_NS[clean_N], theirs.logits_NS[clean_N]
    of = "selected-champion"
    if not len(labels_N):
        return [row_of("top1_difference_adjusted", math.nan, of=of, split="test", n=0)]
    difference = paired_rows(ours_NS, theirs_NS, labels_N, intervals, of=of, split="test")
    adjusted = [row.model_copy(update={"name": f"{row.name}_adjusted"}) for row in difference]
    for who, logits_NS in (("selected", ours_NS), ("champion", theirs_NS)):
        own = share(scoring.hits(logits_NS, labels_N))
        adjusted.append(row_of("top1_adjusted", *own, of=who, split="test", n=len(labels_N)))
    return adjusted + paired_class_rows(ours_NS, theirs_NS, labels_N, shared, of=of, split="test")
