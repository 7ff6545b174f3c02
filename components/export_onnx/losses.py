"""What a lower precision costs in top-1, and whether that is too much. N images, C classes."""

from typing import NamedTuple

import numpy as np

from components.interchange.report import CONFIDENCE
from components.interchange.scoring import Labels, Logits, hits

NUM_RESAMPLES = 10_000


class Loss(NamedTuple):
    """Top-1 of the lower precision minus that of fp32 on the same `n` images, with the interval; flips of top-1."""

    value: float
    low: float
    high: float
    n: int
    flips: int


def loss(found_NC: Logits, full_NC: Logits, labels_N: Labels) -> Loss:
    """The paired difference with its percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13).

    An image turns right, turns wrong or stays, so a resample is a draw from a multinomial. Logits that are not finite
    are a wrong answer.
    """
    right_N = hits(np.nan_to_num(found_NC, nan=-np.inf), labels_N) & np.isfinite(found_NC).all(axis=1)
    change_N = right_N.astype(int) - hits(full_NC, labels_N)
    n = len(change_N)
    shares = [float((change_N == turned).mean()) for turned in (-1, 0, 1)]
    drawn_R3 = np.random.default_rng(0).multinomial(n, shares, NUM_RESAMPLES)
    low, high = np.percentile((drawn_R3[:, 2] - drawn_R3[:, 0]) / n, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    flips = int((found_NC.argmax(axis=1) != full_NC.argmax(axis=1)).sum())
    return Loss(float(change_N.mean()), float(low), float(high), n, flips)


def within(found: Loss, max_drop: float) -> bool:
    """Whether the whole interval shows a drop of at most `max_drop`: what is merely not proven is not enough."""
    return found.low >= -max_drop


def too_much(precision: str, split: str, found: Loss, max_drop: float) -> list[str]:
    """Why this precision may not ship, in words; nothing where it may."""
    if within(found, max_drop):
        return []
    shown = f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}] on {found.n:,} {split} images"
    return [f"{precision} changes top1 by {shown} against fp32: a drop of more than --max-drop {max_drop} is possible"]
