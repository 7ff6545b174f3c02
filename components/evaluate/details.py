"""What the evaluation's report holds beside its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from components.evaluate import slices
from components.evaluate.contest import Duel
from components.evaluate.mistakes import Mistake
from components.evaluate.selection import Selection
from components.evaluate.slices import Slice
from components.interchange.dataset import FEW_TRAIN_IMAGES, Dataset


def details(
    dataset: Dataset,
    selection: Selection,
    selected_digest: str,
    words: Mapping[str, str],
    warnings: list[str],
    confused: dict[str, list[list[int]]],
    mistakes: Sequence[Mistake],
    parts: Sequence[Slice],
    left_out: Sequence[str],
    duel: Duel | None,
) -> dict[str, Any]:
    """`words` say how temperature (`calibration`) and `threshold` were found; `left_out` are columns without parts.

    `confused` are the confusion matrices' cells on test by whose they are, of the champion in its shared classes.
    """
    counts = {split: sum(by_class.values()) for split, by_class in dataset.manifest.counts.items()}
    paths = {sample.id: sample.path for sample in dataset.samples()}
    few = f"with {counts['train']:,} training images (under {FEW_TRAIN_IMAGES}) the baseline is expected to win"
    return {
        "selected": selection.selected,
        "selected_because": selection.because,
        "selected_digest": selected_digest,
        **words,
        "expectation": few if counts["train"] < FEW_TRAIN_IMAGES else None,
        "warnings": warnings,
        "champion": None if duel is None else duel.facts,
        "classes": dataset.classes,
        "confusion": confused,
        "slices": slices.facts(parts, left_out),
        "mistakes": [{**asdict(mistake), "path": paths[mistake.id]} for mistake in mistakes],
        **{f"num_{split}": count for split, count in counts.items()},
        "dataset_digest": dataset.digest(),
        "test_digest": dataset.manifest.digests["test"],
    }
