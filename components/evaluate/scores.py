"""Report rows of one classifier and of paired differences.

Legend: N images, C classes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.evaluate.bootstrap import Interval, paired_difference, score_intervals
from components.evaluate.mcnemar import mcnemar_p
from components.interchange import scoring
from components.interchange.report import Row
from components.interchange.scoring import Labels, Logits

OVERALL = ("top1", "top5", "macro_f1", "ece", "nll")
BY_CLASS = ("precision", "recall", "f1")
CLASSES_FOR_TOP5 = 6


class Intervals(NamedTuple):
    """How intervals are made, and the bins of the ECE."""

    num_resamples: int
    seed: int
    bins: int


def _row(name: str, interval: Interval, of: str, split: str, n: int) -> Row:
    value, low, high = (None if math.isnan(number) else number for number in interval)
    return Row(
        name=name, value=value, unit="nats" if name == "nll" else "", of=of, split=split, n=n, low=low, high=high
    )


def score_rows(
    logits_NC: Logits, labels_N: Labels, classes: Sequence[str], intervals: Intervals, *, of: str, split: str
) -> list[Row]:
    """Scores of one classifier on one split; those per class on test alone, where nothing is chosen any more.

    `n` of a per-class row is the number of images of that class.
    """
    found = score_intervals(logits_NC, labels_N, **intervals._asdict())
    names = [name for name in OVERALL if name != "top5" or len(classes) >= CLASSES_FOR_TOP5]
    rows = [_row(name, found[name][0], of, split, len(labels_N)) for name in names]
    if split == "test":
        sizes = np.bincount(labels_N, minlength=len(classes))
        rows += [
            _row(score, found[score][number], f"{of}/{name}", split, int(sizes[number]))
            for number, name in enumerate(classes)
            for score in BY_CLASS
        ]
    return rows


def paired_rows(
    logits_NC: Logits, than_logits_NC: Logits, labels_N: Labels, intervals: Intervals, *, of: str, split: str
) -> list[Row]:
    """Two classifiers on the same images: `top1_difference` with its paired interval, and `mcnemar_p` beside it."""
    better_N, than_N = (scoring.hits(logits, labels_N) for logits in (logits_NC, than_logits_NC))
    interval = paired_difference(better_N, than_N, intervals.num_resamples, intervals.seed)
    p = Row(name="mcnemar_p", value=mcnemar_p(better_N, than_N), of=of, split=split, n=len(labels_N))
    return [_row("top1_difference", interval, of, split, len(labels_N)), p]


def calibration_rows(
    logits_NC: Logits, labels_N: Labels, temperature: float, num_val: int, intervals: Intervals
) -> list[Row]:
    """`temperature` of the selected classifier, fitted to `num_val` images, and its `ece` and `nll` as it ships.

    `logits_NC` are of test, divided by the temperature. Before: the rows of the baseline or the candidate itself.
    """
    found = score_intervals(logits_NC, labels_N, **intervals._asdict())
    return [
        Row(name="temperature", value=temperature, of="selected", split="val", n=num_val),
        *(_row(name, found[name][0], "selected", "test", len(labels_N)) for name in ("ece", "nll")),
    ]


def confusion(logits_NC: Logits, labels_N: Labels, num_classes: int) -> list[list[int]]:
    """Confusion matrix as nested lists: a row a true class, a column a predicted class."""
    predictions_N: NDArray[np.int64] = logits_NC.argmax(axis=1)
    matrix: list[list[int]] = scoring.confusion_matrix(labels_N, predictions_N, num_classes).tolist()
    return matrix
