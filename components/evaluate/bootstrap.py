"""Percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13), all resamples of a chunk at once.

A resample is a row of weights: how often each image was drawn. The same seed and number of images give the same
resamples, so differences of two classifiers are paired. Legend: R resamples, N images, C classes, B bins.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange import scoring
from components.interchange.report import CONFIDENCE
from components.interchange.scoring import ClassCounts, Floats, Labels, Logits

WEIGHTS_PER_CHUNK = 2**23
Statistics = dict[str, NDArray[np.floating]]


class Interval(NamedTuple):
    """A figure and its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float


def resamples(num_images: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Chunks of weights [r, N] that add up to `num_resamples` rows; every row sums to N."""
    rng = np.random.default_rng(seed)
    rows = max(1, WEIGHTS_PER_CHUNK // num_images)
    for start in range(0, num_resamples, rows):
        chunk = min(rows, num_resamples - start)
        drawn_RN = rng.integers(0, num_images, (chunk, num_images)) + num_images * np.arange(chunk)[:, None]
        counts = np.bincount(drawn_RN.ravel(), minlength=chunk * num_images)
        yield counts.reshape(chunk, num_images).astype(np.float32)


def figures(logits_NC: Logits, labels_N: Labels, bins: int) -> Callable[[NDArray[np.float32]], Statistics]:
    """A function from weights [R, N] to the scores of each resample: [R], and [R, C] for those per class."""
    num_images, num_classes = logits_NC.shape
    top1_N, top5_N = (scoring.hits(logits_NC, labels_N, k).astype(np.float64) for k in (1, 5))
    means_NS: Floats = np.stack([top1_N, top5_N, scoring.nll_of_each(logits_NC, labels_N)], axis=1)
    gaps_NB = scoring.calibration_gaps(logits_NC, labels_N, bins)
    actual_NC = np.eye(num_classes, dtype=np.float32)[labels_N]
    predicted_NC = np.eye(num_classes, dtype=np.float32)[logits_NC.argmax(axis=1)]

    def of(weights_RN: NDArray[np.float32]) -> Statistics:
        means_RS = weights_RN @ means_NS / num_images
        parts = (actual_NC * predicted_NC, predicted_NC, actual_NC)
        counts = ClassCounts(*((weights_RN @ part_NC).astype(np.float64) for part_NC in parts))
        return {
            "top1": means_RS[:, 0],
            "top5": means_RS[:, 1],
            "nll": means_RS[:, 2],
            "ece": np.abs(weights_RN @ gaps_NB / num_images).sum(axis=1),
            "macro_f1": scoring.macro_f1(counts),
            **scoring.per_class(counts)._asdict(),
        }

    return of


def score_intervals(
    logits_NC: Logits, labels_N: Labels, *, bins: int, num_resamples: int, seed: int
) -> dict[str, list[Interval]]:
    """Every score of one classifier with its interval: one per name, and one per class for precision, recall and f1."""
    of = figures(logits_NC, labels_N, bins)
    values = of(np.ones((1, len(labels_N)), np.float32))
    chunks = [of(weights_RN) for weights_RN in resamples(len(labels_N), num_resamples, seed)]
    return {
        name: [
            (around if name == "ece" else percentile_interval)(float(value), resampled_R)
            for value, resampled_R in zip(
                values[name][0].reshape(-1),
                np.concatenate([chunk[name] for chunk in chunks]).reshape(num_resamples, -1).T,
                strict=True,
            )
        ]
        for name in values
    }


def paired_difference(
    better_N: NDArray[np.bool_], than_N: NDArray[np.bool_], num_resamples: int, seed: int
) -> Interval:
    """Mean of `better_N` minus mean of `than_N` over the same images, both resampled together."""
    differences_N = better_N.astype(np.float64) - than_N.astype(np.float64)
    chunks = [weights_RN @ differences_N for weights_RN in resamples(len(differences_N), num_resamples, seed)]
    return percentile_interval(float(differences_N.mean()), np.concatenate(chunks) / len(differences_N))


def percentile_interval(value: float, resampled_R: NDArray[np.floating]) -> Interval:
    """The central 95 % of the resampled values; those where the score is undefined are left out."""
    defined_R = resampled_R[~np.isnan(resampled_R)]
    if np.isnan(value) or not len(defined_R):
        return Interval(value, np.nan, np.nan)
    low, high = np.percentile(defined_R.astype(np.float64), [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(value, float(low), float(high))


def around(value: float, resampled_R: NDArray[np.floating]) -> Interval:
    """`percentile_interval` of a score whose resamples lie above it, moved down by how far they do; not below zero.

    A resample's calibration error is larger than that of its images, as theirs is larger than the truth: of fewer
    different images the gaps are wider by chance. Unmoved, the interval may not even hold the figure.
    """
    interval = percentile_interval(value, resampled_R)
    bias = float(np.nanmean(resampled_R)) - value
    return Interval(value, *(float(np.maximum(0.0, end - bias)) for end in interval[1:]))  # Undefined stays so.
