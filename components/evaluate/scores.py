"""Report rows of one classifier and of paired differences.

Legend: N images, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from components.evaluate.bootstrap import Interval, paired_difference, score_intervals
from components.evaluate.mcnemar import mcnemar_p
from components.evaluate.proportions import f1_of, mean_of, paired_change, share, wider
from components.interchange import scoring
from components.interchange.report import Row
from components.interchange.scoring import Labels, Logits

OVERALL = ("top1", "top5", "balanced_accuracy", "macro_f1", "ece", "nll")
BY_CLASS = ("precision", "recall", "f1")
CLASSES_FOR_TOP5 = 6


class Intervals(NamedTuple):
    """How intervals are made, and the bins of the ECE."""

    num_resamples: int
    seed: int
    bins: int


def row_of(
    name: str, value: float, low: float = math.nan, high: float = math.nan, *, of: str, split: str, n: int
) -> Row:
    """A row from a figure and its interval; what is NaN becomes null."""
    found = {
        key: None if math.isnan(number) else number
        for key, number in zip(("value", "low", "high"), (value, low, high), strict=True)
    }
    return Row(name=name, unit="nats" if name.split("_")[0] == "nll" else "", of=of, split=split, n=n, **found)


def score_rows(
    logits_NC: Logits, labels_N: Labels, classes: Sequence[str], intervals: Intervals, *, of: str, split: str
) -> list[Row]:
    """Scores of one classifier on one split; those per class on test alone, where nothing is chosen any more.

    `n` of a per-class row are the images that it is a share of: for recall those of the class, for precision those that
    were said to be, for f1 those of either kind.
    """
    sizes = _sizes(logits_NC, labels_N, len(classes))
    found = _shares(logits_NC, labels_N, sizes)
    resampled = score_intervals(logits_NC, labels_N, **intervals._asdict())
    # A bootstrap of all-right images says [1, 1] of this, too.
    resampled["macro_f1"] = wider(resampled["macro_f1"], mean_of(found["f1"], sizes["f1"]))
    found |= {name: [interval] for name, interval in resampled.items()}
    names = [name for name in OVERALL if name != "top5" or len(classes) >= CLASSES_FOR_TOP5]
    rows = [row_of(name, *found[name][0], of=of, split=split, n=len(labels_N)) for name in names]
    if split == "test":
        rows += [
            row_of(score, *found[score][number], of=f"{of}/{name}", split=split, n=sizes[score][number])
            for number, name in enumerate(classes)
            for score in BY_CLASS
        ]
    return rows


def _sizes(logits_NC: Logits, labels_N: Labels, num_classes: int) -> dict[str, list[int]]:
    """Images that each per-class score is a share of."""
    right, predicted, actual = scoring.class_counts(labels_N, logits_NC.argmax(axis=1), num_classes)
    of_score = (predicted, actual, actual + predicted - right)
    return {score: sizes.tolist() for score, sizes in zip(BY_CLASS, of_score, strict=True)}


def _shares(logits_NC: Logits, labels_N: Labels, sizes: Mapping[str, list[int]]) -> dict[str, list[Interval]]:
    """Scores that are shares of images, with intervals that hold for few images and for all-right ones, too."""
    hits_N, said_N = scoring.hits(logits_NC, labels_N), logits_NC.argmax(axis=1)
    classes = range(len(sizes["recall"]))
    recalls = [share(hits_N[labels_N == number]) for number in classes]
    return {
        "top1": [share(hits_N)],
        "top5": [share(scoring.hits(logits_NC, labels_N, 5))],
        "balanced_accuracy": [mean_of(recalls, sizes["recall"])],
        "recall": recalls,
        "precision": [share(hits_N[said_N == number]) for number in classes],
        "f1": [f1_of(labels_N == number, said_N == number) for number in classes],
    }


def paired_rows(
    logits_NC: Logits, than_logits_NC: Logits, labels_N: Labels, intervals: Intervals, *, of: str, split: str
) -> list[Row]:
    """Two classifiers on the same images: `top1_difference` with its paired interval, and `mcnemar_p` beside it.

    The interval is the wider of a bootstrap's and one that holds for few images: where both are right and wrong on the
    same images, every resample says that they differ by nothing at all, be it on ten images.
    """
    better_N, than_N = (scoring.hits(logits, labels_N) for logits in (logits_NC, than_logits_NC))
    resampled = paired_difference(better_N, than_N, intervals.num_resamples, intervals.seed)
    interval = wider(resampled, paired_change(better_N, than_N))
    p = Row(name="mcnemar_p", value=mcnemar_p(better_N, than_N), of=of, split=split, n=len(labels_N))
    return [row_of("top1_difference", *interval, of=of, split=split, n=len(labels_N)), p]


def paired_class_rows(
    logits_NC: Logits, than_logits_NC: Logits, labels_N: Labels, classes: Sequence[str], *, of: str, split: str
) -> list[Row]:
    """`recall_difference` of every class, of two classifiers on the same images; `n` are the images of that class."""
    better_N, than_N = (scoring.hits(logits, labels_N) for logits in (logits_NC, than_logits_NC))
    of_class = [labels_N == number for number in range(len(classes))]
    return [
        row_of(
            "recall_difference",
            *paired_change(better_N[own_N], than_N[own_N]),
            of=f"{of}/{name}",
            split=split,
            n=int(own_N.sum()),
        )
        for name, own_N in zip(classes, of_class, strict=True)
    ]


def calibration_rows(
    logits_NC: Logits, labels_N: Labels, temperature: float, num_val: int, intervals: Intervals
) -> list[Row]:
    """`temperature` of the selected classifier, fitted to `num_val` images, and its `ece` and `nll` as it ships.

    `logits_NC` are of test, divided by the temperature. Before: the rows of the baseline or the candidate itself.
    """
    found = score_intervals(logits_NC, labels_N, **intervals._asdict())
    return [
        Row(name="temperature", value=temperature, of="selected", split="val", n=num_val),
        *(row_of(name, *found[name], of="selected", split="test", n=len(labels_N)) for name in ("ece", "nll")),
    ]
