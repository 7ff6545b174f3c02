"""Temperature scaling: one number that logits are divided by, so that confidence is worth believing.

Guo et al. 2017, section 4.2 (arXiv:1706.04599). The order of the classes does not change. It is fitted to val, ships
where val shows a gain on images that it was not fitted to, and test can only veto. N images, C classes, B bins.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from components.evaluate.bootstrap import Interval, percentile_interval, resamples
from components.evaluate.scores import Intervals, row_of
from components.interchange import scoring
from components.interchange.artifact import RUN_FILE, digest, write_card
from components.interchange.cards import ClassifierCard, Threshold
from components.interchange.report import Row
from components.interchange.scoring import Floats, Labels, Logits

FOLDS = 10
LEAST, MOST = 0.05, 20.0
DIGITS = 6
AT_THE_EDGE = 1e-3


class Fit(NamedTuple):
    """The temperature of the least nll, and in words how it was found."""

    temperature: float
    how: str


class Chosen(NamedTuple):
    """The `temperature` that ships (1 where none does), how that came in words, and the rows of the differences."""

    temperature: float
    how: str
    rows: list[Row]


def choose(
    val_logits_NC: Logits, val_labels_N: Labels, test_logits_NC: Logits, test_labels_N: Labels, intervals: Intervals
) -> Chosen:
    """The fitted temperature, unless val does not show that it helps, or test shows that it harms."""
    found, how = fit(val_logits_NC, val_labels_N)
    if found == 1.0:
        return Chosen(1.0, how, [])
    gain = crossed_gain(val_logits_NC, val_labels_N, intervals)
    rows = [row_of("nll_difference", *gain, of="temperature", split="val", n=len(val_labels_N))]
    told = f"{how}; on val images that it was not fitted to nll changes by {_shown(gain)}"
    if not gain.high < 0:
        return Chosen(1.0, f"{told}, not clearly below zero: the logits stay as they are", rows)
    changes = differences(test_logits_NC, test_logits_NC / found, test_labels_N, intervals)
    rows += [
        row_of(f"{name}_difference", *change, of="temperature", split="test", n=len(test_labels_N))
        for name, change in changes.items()
    ]
    told += ", on test " + " and ".join(f"{name} by {_shown(change)}" for name, change in changes.items())
    if any(change.low > 0 for change in changes.values()):
        return Chosen(1.0, f"{told}: test vetoes, the logits stay as they are", rows)
    return Chosen(found, told, rows)


def crossed_gain(logits_NC: Logits, labels_N: Labels, intervals: Intervals) -> Interval:
    """Change of nll by temperatures that are each fitted to nine tenths of the images and judged on the rest.

    A temperature is never worse than 1 on the images that it was fitted to: these alone would show nothing.
    """
    folds_N = np.random.default_rng(intervals.seed).permutation(len(labels_N)) % min(FOLDS, len(labels_N))
    changes_N = -scoring.nll_of_each(logits_NC, labels_N)
    for fold in np.unique(folds_N):
        judged_N = folds_N == fold
        temperature = fit(logits_NC[~judged_N], labels_N[~judged_N]).temperature
        changes_N[judged_N] += scoring.nll_of_each(logits_NC[judged_N], labels_N[judged_N], temperature)
    return _mean_of(changes_N, intervals)


def differences(before_NC: Logits, after_NC: Logits, labels_N: Labels, intervals: Intervals) -> dict[str, Interval]:
    """nll and ece after minus before, both on the same resamples."""
    nll_N = scoring.nll_of_each(after_NC, labels_N) - scoring.nll_of_each(before_NC, labels_N)
    before_NB, after_NB = (scoring.calibration_gaps(one, labels_N, intervals.bins) for one in (before_NC, after_NC))

    def ece(weights_RN: NDArray[np.floating]) -> Floats:
        n = len(labels_N)
        after_R, before_R = (np.abs(weights_RN @ gaps_NB / n).sum(axis=1) for gaps_NB in (after_NB, before_NB))
        return np.asarray(after_R - before_R)

    drawn = [ece(weights_RN) for weights_RN in resamples(len(labels_N), intervals.num_resamples, intervals.seed)]
    found = float(ece(np.ones((1, len(labels_N))))[0])
    return {"nll": _mean_of(nll_N, intervals), "ece": percentile_interval(found, np.concatenate(drawn))}


def _mean_of(changes_N: Floats, intervals: Intervals) -> Interval:
    drawn = [
        weights_RN @ changes_N / len(changes_N)
        for weights_RN in resamples(len(changes_N), intervals.num_resamples, intervals.seed)
    ]
    return percentile_interval(float(changes_N.mean()), np.concatenate(drawn))


def _shown(found: Interval) -> str:
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def fit(logits_NC: Logits, labels_N: Labels) -> Fit:
    """The temperature with the least nll, between 0.05 and 20.

    nll is convex in 1 / temperature, so that a bounded search finds the optimum. Where every image is right there is
    none: nll falls all the way as the temperature nears zero. The logits then stay as they are.
    """
    if scoring.hits(logits_NC, labels_N).all():
        return Fit(1.0, f"not fitted: all {len(labels_N):,} val images are right, which makes any confidence look low")

    found = minimize_scalar(
        lambda inverse: scoring.nll(logits_NC, labels_N, 1 / inverse), bounds=(1 / MOST, 1 / LEAST), method="bounded"
    )
    temperature = round(float(1 / found.x), DIGITS)
    edge = not LEAST * (1 + AT_THE_EDGE) < temperature < MOST * (1 - AT_THE_EDGE)
    beyond = f"; it lies at the edge of what was tried, {LEAST} to {MOST:g}" if edge else ""
    words = f"temperature {temperature:.3f}, of the least nll on val, n = {len(labels_N):,} images{beyond}"
    return Fit(temperature, words)


def write_calibrated(
    source: Path, target: Path, card: ClassifierCard, temperature: float, threshold: Threshold | None
) -> None:
    """A copy of the classifier artifact `source` whose card has temperature, threshold, and `source`'s digest."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(RUN_FILE))
    update = {"temperature": temperature, "threshold": threshold, "uncalibrated_digest": digest(source)}
    content = card.model_copy(update=update).model_dump(mode="json", exclude={"format"})
    write_card(target, "classifier", content)
