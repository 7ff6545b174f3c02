"""Entrants against each other and the winner against the champion: rows, the choice, and the report's details.

Legend: N images, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluate import champion_model
from components.evaluate.bootstrap import Interval
from components.evaluate.mistakes import Mistake
from components.evaluate.scores import Intervals, confusion, paired_rows, score_rows
from components.evaluate.selection import Selection, only_one, select
from components.interchange import scoring
from components.interchange.cards import ClassifierCard
from components.interchange.champion import Champion
from components.interchange.dataset import Dataset, Split, SplitName
from components.interchange.onnx_model import open_model
from components.interchange.report import Row
from components.interchange.scoring import Labels

FEW_TRAIN_IMAGES = 500
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
    matrices: dict[str, list[list[int]]] = field(default_factory=dict)


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
    baseline_val, candidate_val = (scoring.top1(one.logits["val"], labels["val"]) for one in (baseline, candidate))
    gain = next(row for row in rows if (row.name, row.split) == ("top1_difference", "test"))
    interval = Interval(*(float(bound or 0) for bound in (gain.value, gain.low, gain.high)))
    return select(baseline_val, candidate_val, interval), rows


def against_champion(
    champion: Champion,
    winner: Entrant,
    dataset: Dataset,
    splits: Mapping[SplitName, Split],
    intervals: Intervals,
    batch_size: int,
) -> Duel:
    """The champion's rows and the paired differences selected-champion, on the classes that both sides know.

    The champion is scored as it answers in production, with its own temperature.
    """
    session, card = open_model(champion.fetch())
    classes = champion_model.compare_classes(dataset.classes, card.classes)
    record = champion.record.model_dump(mode="json", include={"latency", "provider", "num_threads"})
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
            duel.matrices["champion"] = confusion(theirs.logits_NS, theirs.labels_N, len(classes.shared))
    return duel


def details(
    dataset: Dataset,
    selection: Selection,
    selected_digest: str,
    calibration: str,
    matrices: dict[str, list[list[int]]],
    mistakes: Sequence[Mistake],
    duel: Duel | None,
) -> dict[str, Any]:
    """What the report holds beside its rows."""
    counts = {split: sum(by_class.values()) for split, by_class in dataset.manifest.counts.items()}
    paths = {sample.id: sample.path for sample in dataset.samples()}
    few = f"with {counts['train']:,} training images (under {FEW_TRAIN_IMAGES}) the baseline is expected to win"
    return {
        "selected": selection.selected,
        "selected_because": selection.because,
        "selected_digest": selected_digest,
        "calibration": calibration,
        "expectation": few if counts["train"] < FEW_TRAIN_IMAGES else None,
        "champion": None if duel is None else duel.facts,
        "classes": dataset.classes,
        "confusion": matrices,
        "mistakes": [{**asdict(mistake), "path": paths[mistake.id]} for mistake in mistakes],
        **{f"num_{split}": count for split, count in counts.items()},
        "dataset_digest": dataset.digest(),
    }
