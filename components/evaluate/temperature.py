"""Temperature scaling: one number that logits are divided by, so that confidence is worth believing.

Guo et al. 2017, section 4.2 (arXiv:1706.04599). The order of the classes does not change. N images, C classes.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from scipy.optimize import minimize_scalar

from components.interchange import scoring
from components.interchange.artifact import RUN_FILE, digest, write_card
from components.interchange.cards import ClassifierCard, Threshold
from components.interchange.scoring import Labels, Logits

LEAST, MOST = 0.05, 20.0
DIGITS = 6
AT_THE_EDGE = 1e-3


class Fit(NamedTuple):
    """`temperature` for the selected classifier, and in words how it was found."""

    temperature: float
    how: str


def fit(logits_NC: Logits, labels_N: Labels) -> Fit:
    """The temperature with the least nll, between 0.05 and 20.

    nll is convex in 1 / temperature, so that a bounded search finds the optimum. Where every image is right there is
    none: nll falls all the way as the temperature nears zero. The logits then stay as they are.
    """
    if scoring.hits(logits_NC, labels_N).all():
        return Fit(1.0, f"not fitted: all {len(labels_N):,} val images are right, which makes any confidence look low")

    found = minimize_scalar(
        lambda inverse: scoring.nll(logits_NC * inverse, labels_N), bounds=(1 / MOST, 1 / LEAST), method="bounded"
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
