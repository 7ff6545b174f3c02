"""Percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13), all resamples of a chunk at once.

A resample is a row of weights: how often each image was drawn. The same seed and number of images give the same
resamples, so differences of two classifiers are paired. Legend: R resamples, N images, C classes, B bins.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from components.interchange import scoring
from components.interchange.report import CONFIDENCE
from components.interchange.scoring import ClassCounts, Labels, Logits

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
    """A function from weights [R, N] to those scores of each resample, [R], that are no shares of images."""
    num_images, num_classes = logits_NC.shape
    nll_N = scoring.nll_of_each(logits_NC, labels_N)
    gaps_NB = scoring.calibration_gaps(logits_NC, labels_N, bins)
    predictions_N = logits_NC.argmax(axis=1)

    def members(own_N: Labels, counted_N: NDArray[np.bool_]) -> csr_array:
        """[N, C]: a one in the column of each image's class, where it counts."""
        return csr_array((counted_N.astype(np.float32), (np.arange(num_images), own_N)), (num_images, num_classes))

    every_N = np.ones(num_images, bool)
    parts = [
        members(labels_N, labels_N == predictions_N),
        members(predictions_N, every_N),
        members(labels_N, every_N),
    ]

    def of(weights_RN: NDArray[np.float32]) -> Statistics:
        counts = ClassCounts(*((weights_RN @ part_NC).astype(np.float64) for part_NC in parts))
        return {
            "nll": weights_RN @ nll_N / num_images,
            "ece": np.abs(weights_RN @ gaps_NB / num_images).sum(axis=1),
            "macro_f1": scoring.macro_f1(counts),
        }

    return of


def score_intervals(
    logits_NC: Logits, labels_N: Labels, *, bins: int, num_resamples: int, seed: int
) -> dict[str, Interval]:
    """nll, ece and macro_f1 of one classifier with their intervals."""
    of = figures(logits_NC, labels_N, bins)
    chance = ece_by_chance(logits_NC, labels_N, bins, num_resamples, seed)
    values = of(np.ones((1, len(labels_N)), np.float32))
    chunks = [of(weights_RN) for weights_RN in resamples(len(labels_N), num_resamples, seed)]
    found = {}
    for name, (value,) in values.items():
        resampled_R = np.concatenate([chunk[name] for chunk in chunks])
        of_ece = name == "ece"
        found[name] = _of_ece(value, resampled_R, chance) if of_ece else percentile_interval(float(value), resampled_R)
    return found


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


def ece_by_chance(logits_NC: Logits, labels_N: Labels, bins: int, num_draws: int, seed: int) -> float:
    """The ECE that these images show by chance, even where confidence is accuracy: the end of its lower 97.5 %.

    In each bin the sum of confidence minus correctness, which is nearly normal, strays by the variance of answers that
    are as often right as sure, or by that of those seen where it is larger.
    """
    confidences_N = scoring.confidences(logits_NC)
    gaps_NB = scoring.calibration_gaps(logits_NC, labels_N, bins)
    expected_B = (confidences_N * (1 - confidences_N)) @ (gaps_NB != 0)
    strays_B = np.sqrt(np.maximum(expected_B, (gaps_NB**2).sum(axis=0)))
    drawn_DB = np.random.default_rng(seed).standard_normal((num_draws, bins)) * strays_B
    return float(np.percentile(np.abs(drawn_DB).sum(axis=1) / len(labels_N), 50 * (1 + CONFIDENCE)))


def _of_ece(value: float, resampled_R: NDArray[np.floating], chance: float) -> Interval:
    """The interval of a calibration error, which is larger than the truth: of few images gaps are wide by chance.

    Low: what `chance` cannot explain, since the ECE of a sum is at most the sum of ECEs. High: the resamples', moved
    down by how far these lie above the figure in turn.
    """
    bias = float(np.nanmean(resampled_R)) - value
    return Interval(value, max(0.0, value - chance), max(value, percentile_interval(value, resampled_R).high - bias))
