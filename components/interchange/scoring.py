"""Scores of a classifier, from its logits and the labels. Fractions on [0, 1], never percent; numpy alone.

Legend: N images, C classes; a leading `...` stands for any axes before (bootstrap resamples).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Counts = Floats | Labels
Logits = NDArray[np.floating]

# In float64 they stay in the cache; all of 10,000 classes would be some GiB, several times.
LOGITS_AT_A_TIME = 1 << 18


class ClassCounts(NamedTuple):
    """Images per class, [..., C]: predicted rightly, predicted as this class, and truly of it."""

    true_positives: Counts
    predicted: Counts
    actual: Counts


def softmax(logits_NC: Logits) -> Floats:
    """Probabilities [N, C] in float64; safe for logits of any size."""
    shifted_NC = logits_NC.astype(np.float64)
    shifted_NC -= shifted_NC.max(axis=1, keepdims=True)
    exponentials_NC = np.exp(shifted_NC, out=shifted_NC)
    exponentials_NC /= exponentials_NC.sum(axis=1, keepdims=True)
    return np.asarray(exponentials_NC)


def confidences(logits_NC: Logits) -> Floats:
    """The highest probability of each image, [N]."""
    return _in_parts(lambda part_NC: softmax(part_NC).max(axis=1), logits_NC)


def _in_parts(of: Callable[..., NDArray[Any]], logits_NC: Logits, *labels_N: Labels) -> NDArray[Any]:
    """`of` logits and labels, a value an image, some images at a time."""
    images = max(1, LOGITS_AT_A_TIME // logits_NC.shape[1])
    starts = range(0, max(1, len(logits_NC)), images)
    return np.concatenate([of(*(one[start : start + images] for one in (logits_NC, *labels_N))) for start in starts])


def hits(logits_NC: Logits, labels_N: Labels, k: int = 1) -> NDArray[np.bool_]:
    """Whether each image's label is among its k highest logits, [N]. Of equal logits the lower class comes first."""

    def of(logits_NC: Logits, labels_N: Labels) -> NDArray[np.bool_]:
        own_N1 = np.take_along_axis(logits_NC, labels_N[:, None], axis=1)
        lower_NC = np.arange(logits_NC.shape[1]) < labels_N[:, None]
        ahead_NC = (logits_NC > own_N1) | ((logits_NC == own_N1) & lower_NC)
        return np.asarray(ahead_NC.sum(axis=1) < k)

    return _in_parts(of, logits_NC, labels_N)


def top1(logits_NC: Logits, labels_N: Labels) -> float:
    """Share of the images whose highest logit is the label's."""
    return topk(logits_NC, labels_N, 1)


def topk(logits_NC: Logits, labels_N: Labels, k: int) -> float:
    """Share of the images whose label is among the k highest logits."""
    return float(hits(logits_NC, labels_N, k).mean())


def confusion_cells(labels_N: Labels, predictions_N: Labels) -> list[list[int]]:
    """The confusion matrix's cells that are not zero, `[true class, predicted class, images]`, in this order.

    Of C classes it has C * C cells, of which at most one an image is not zero.
    """
    pairs, images = np.unique(np.stack([labels_N, predictions_N], axis=1), axis=0, return_counts=True)
    cells: list[list[int]] = np.column_stack([pairs, images]).tolist()
    return cells


def class_counts(labels_N: Labels, predictions_N: Labels, num_classes: int) -> ClassCounts:
    """Counts [C] of one set of images."""
    right_N = labels_N[labels_N == predictions_N]
    return ClassCounts(*(np.bincount(of_N, minlength=num_classes) for of_N in (right_N, predictions_N, labels_N)))


def macro_f1(counts: ClassCounts) -> Floats:
    """Mean F1 = 2 TP / (predicted + actual) over the classes, [...].

    As in scikit-learn, a class that is neither labelled nor predicted counts nothing.
    """
    images = counts.predicted + counts.actual
    f1 = np.divide(2 * counts.true_positives, images, out=np.full(images.shape, np.nan), where=images > 0)
    return np.asarray(np.nanmean(f1, axis=-1))


def nll_of_each(logits_NC: Logits, labels_N: Labels, temperature: float = 1.0) -> Floats:
    """Negative log-likelihood of each image's label, [N], in nats, of the logits divided by a temperature."""

    def of(logits_NC: Logits, labels_N: Labels) -> Floats:
        shifted_NC = logits_NC.astype(np.float64)
        shifted_NC /= temperature
        shifted_NC -= shifted_NC.max(axis=1, keepdims=True)
        own_N = np.take_along_axis(shifted_NC, labels_N[:, None], axis=1)[:, 0]
        return np.asarray(np.log(np.exp(shifted_NC, out=shifted_NC).sum(axis=1)) - own_N)

    return _in_parts(of, logits_NC, labels_N)


def nll(logits_NC: Logits, labels_N: Labels, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the labels, in nats, of the logits divided by a temperature."""
    return float(nll_of_each(logits_NC, labels_N, temperature).mean())


def calibration_gaps(logits_NC: Logits, labels_N: Labels, bins: int) -> Floats:
    """Confidence minus correctness of each image in the column of its bin, zero elsewhere: [N, bins].

    Equal-width bins over (0, 1], right edge included.
    """
    confidences_N = confidences(logits_NC)
    right_edges = np.linspace(0, 1, bins + 1)[1:]
    bins_N = np.searchsorted(right_edges, confidences_N, side="left")
    gaps_NB = np.zeros((len(labels_N), bins))
    gaps_NB[np.arange(len(labels_N)), bins_N] = confidences_N - hits(logits_NC, labels_N)
    return gaps_NB


def ece(logits_NC: Logits, labels_N: Labels, bins: int = 15) -> float:
    """Expected calibration error: mean gap of confidence and accuracy, weighted by bin size; 0 perfect, 1 the worst.

    Equal-width bins over (0, 1], right edge included; empty bins count nothing. Guo et al. 2017, eq. 3
    (arXiv:1706.04599).
    """
    return float(np.abs(calibration_gaps(logits_NC, labels_N, bins).mean(axis=0)).sum())
