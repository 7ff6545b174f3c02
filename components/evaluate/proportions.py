"""Intervals of shares that hold for few images too, where a bootstrap of all-right images would say [1, 1].

Legend: N images.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from components.evaluate.bootstrap import Interval
from components.interchange.report import CONFIDENCE

TINY = 1e-9
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def share(hits_N: NDArray[np.bool_]) -> Interval:
    """Share of True with its score interval (Wilson 1927); NaN without images."""
    n = len(hits_N)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    found = float(hits_N.mean())
    centre = (found + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(found * (1 - found) / n + Z**2 / (4 * n**2))
    return Interval(found, min(max(0.0, centre - half), found), max(min(1.0, centre + half), found))


def f1_of(true_N: NDArray[np.bool_], said_N: NDArray[np.bool_]) -> Interval:
    """F1 of a class with its interval; NaN where no image is of it and none was said to be.

    F1 = 2 J / (1 + J) rises with J, the share of right ones among the images that are of the class or were said to be,
    so that the ends of J's interval are those of F1's.
    """
    found = share((true_N & said_N)[true_N | said_N])
    return Interval(*(2 * bound / (1 + bound) for bound in found))


def paired_change(better_N: NDArray[np.bool_], than_N: NDArray[np.bool_]) -> Interval:
    """Share of `better_N` minus share of `than_N` over the same images, its interval wide for few images.

    Tango's score interval (1998, Statistics in Medicine 17, 891-908): every change that a test at its value does not
    refuse. A non-inferiority test by its lower bound errs as often as it should, even where no image tells the two
    apart: `n` such images leave a change of Z^2 / (n + Z^2) possible. NaN without images.
    """
    n = len(better_N)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    gained, lost = int((better_N & ~than_N).sum()), int((~better_N & than_N).sum())
    found = (gained - lost) / n
    return Interval(found, -_largest_change(lost, gained, n), _largest_change(gained, lost, n))


def _largest_change(gained: int, lost: int, n: int) -> float:
    """The change above what was found that lies `Z` standard errors from it, as they would be at that change."""

    def beyond(change: float) -> float:
        away = n * change - (gained - lost)
        # The likeliest share of lost images at that change, by the root of a quadratic.
        middle = (2 * n - gained + lost) * change - gained - lost
        root = math.sqrt(max(0.0, middle**2 + 8 * n * lost * change * (1 - change)))  # Rounding may leave less.
        share_lost = (root - middle) / (4 * n)
        return away**2 - Z**2 * n * (2 * share_lost + change * (1 - change))

    just_above = (gained - lost) / n + TINY  # At what was found itself there may be no error at all.
    return 1.0 if gained == n else float(brentq(beyond, just_above, 1.0))


def wider(one: Interval, other: Interval) -> Interval:
    """One figure's interval that holds both; the figure is that of `one`."""
    return Interval(one.value, min(one.low, other.low), max(one.high, other.high))
