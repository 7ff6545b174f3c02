"""What a lower precision costs in top-1, and whether that is too much. N images, C classes.

Of each split what was seen counts: the bootstrap's interval, which says nothing of images that did not change. Of both
together the images must be enough, too: Tango's interval as well, as for every other paired difference.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from components.interchange.paired import bounds_of_change
from components.interchange.report import CONFIDENCE
from components.interchange.scoring import Labels, Logits, hits

NUM_RESAMPLES = 10_000
MOST_IMAGES = 100_000
DIGITS = 4  # Of a drop that may be allowed instead, rounded up.


class Loss(NamedTuple):
    """Top-1 of the lower precision minus that of fp32 on the same `n` images, with the interval; flips of top-1.

    `lost` are the images that only fp32 gets right, `won` those that only the lower precision does.
    """

    value: float
    low: float
    high: float
    n: int
    flips: int
    lost: int
    won: int


def loss(found_NC: Logits, full_NC: Logits, labels_N: Labels) -> Loss:
    """The paired difference with its interval. Logits that are not finite are a wrong answer."""
    right_N = hits(np.nan_to_num(found_NC, nan=-np.inf), labels_N) & np.isfinite(found_NC).all(axis=1)
    change_N = right_N.astype(int) - hits(full_NC, labels_N)
    flips = int((found_NC.argmax(axis=1) != full_NC.argmax(axis=1)).sum())
    return _counted(len(change_N), flips, int((change_N < 0).sum()), int((change_N > 0).sum()))


def loss_by_class(found_NC: Logits, full_NC: Logits, labels_N: Labels) -> list[Loss | None]:
    """The difference over the images of each class, which is that of its recall; None for a class without images."""
    of_class = [labels_N == number for number in range(full_NC.shape[1])]
    return [loss(found_NC[own_N], full_NC[own_N], labels_N[own_N]) if own_N.any() else None for own_N in of_class]


def together(losses: Mapping[str, Loss]) -> Loss:
    """The difference over the images of all splits."""
    return _counted(*(sum(getattr(one, name) for one in losses.values()) for name in ("n", "flips", "lost", "won")))


def _counted(n: int, flips: int, lost: int, won: int) -> Loss:
    low, high = _interval(n, lost / n, won / n)
    return Loss((won - lost) / n, low, high, n, flips, lost, won)


def _interval(n: int, lost: float, won: float) -> tuple[float, float]:
    """Of the difference on `n` images, of which these shares turn wrong and right: the wider of both intervals."""
    (low, high), (lower, higher) = _resampled(n, lost, won), bounds_of_change(n * won, n * lost, n)
    return min(low, lower), max(high, higher)


def _resampled(n: int, lost: float, won: float) -> tuple[float, float]:
    """Its percentile bootstrap over images (Efron and Tibshirani 1993, chapter 13).

    An image turns right, turns wrong or stays, so a resample is a draw from a multinomial.
    """
    drawn_R3 = np.random.default_rng(0).multinomial(n, [lost, 1 - lost - won, won], NUM_RESAMPLES)
    low, high = np.percentile((drawn_R3[:, 2] - drawn_R3[:, 0]) / n, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)


def within(found: Loss, max_drop: float) -> bool:
    """Whether all that was seen is a drop of at most `max_drop`: what may as well be more is not enough."""
    return _resampled(found.n, found.lost / found.n, found.won / found.n)[0] >= -max_drop


def too_much(precision: str, losses: Mapping[str, Loss], max_drop: float) -> list[str]:
    """Why this precision may not ship, by its losses on each split, in words; nothing where it may."""
    found = [_seen(precision, split, one, max_drop) for split, one in losses.items() if not within(one, max_drop)]
    both = together(losses)
    if found or both.low >= -max_drop:
        return found
    lost, won = both.lost / both.n, both.won / both.n
    enough = _first(lambda n: _interval(n, lost, won)[0] >= -max_drop, both.n)
    more = f"about {enough:,} would do if no larger share turns wrong, or " if enough else ""
    allowed = math.ceil(-both.low * 10**DIGITS) / 10**DIGITS
    words = _words(precision, " and ".join(losses), both)
    return [f"{words}, too few to show a drop of at most {max_drop:g}: {more}--max-drop {allowed:g}"]


def _words(precision: str, split: str, found: Loss) -> str:
    shown = f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}] on {found.n:,} {split} images"
    return f"{precision} changes top1 by {shown} against fp32"


def _seen(precision: str, split: str, found: Loss, max_drop: float) -> str:
    words = _words(precision, split, found)
    if found.high < -max_drop:
        return f"{words}: it drops by more than --max-drop {max_drop:g}"
    return f"{words}: a drop over --max-drop {max_drop:g} is possible{_remedy(found, max_drop)}"


def _remedy(found: Loss, max_drop: float) -> str:
    """Whether more images could tell, in words; nothing where they would not help."""
    if found.value > -max_drop:
        lost, won = found.lost / found.n, found.won / found.n
        enough = _first(lambda n: _resampled(n, lost, won)[0] >= -max_drop, found.n)
        return f"; if no larger share of more images turns wrong, about {enough:,} would do" if enough else ""
    least = _first(lambda n: _resampled(n, 1 / n, 0)[0] >= -max_drop, found.n)
    return f"; below about {least:,} images a single one that turns wrong is too many" if least else ""


def _first(holds: Callable[[int], bool], above: int) -> int | None:
    """The first number of images above `above` at which it holds, and with a tenth more; in two digits.

    None where it does not up to MOST_IMAGES, or where it holds at `above` already.
    """
    if holds(above):
        return None
    reached = float(above)
    while reached < MOST_IMAGES:
        reached *= 1.05
        n = int(round(reached, 1 - math.floor(math.log10(reached))))
        if holds(n) and holds(n + n // 10):
            return n
    return None
