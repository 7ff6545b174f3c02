"""Intervals of shares that hold for few images too, where a bootstrap of all-right images would say [1, 1].

Legend: N images.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.evaluate.bootstrap import Interval
from components.interchange.paired import Z, bounds_of_change


def share(hits_N: NDArray[np.bool_]) -> Interval:
    """Share of True with its score interval (Wilson 1927); NaN without images."""
    n = len(hits_N)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    return _wilson(float(hits_N.mean()), n)


def _wilson(found: float, n: float) -> Interval:
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


def mean_of(parts: Sequence[Interval], sizes: Sequence[int]) -> Interval:
    """The mean of shares of so many images with its interval; those that are NaN are left out. NaN without any.

    The wider of two. From the parts' own intervals (MOVER, Zou and Donner 2008), which holds for parts that differ; of
    many small ones each interval leans towards one half, which does not average out. And Wilson's, as if all parts had
    the mean's share, on as many images as give that mean the same variance. Takes parts for independent of each other.
    """
    known = [(one, size) for one, size in zip(parts, sizes, strict=True) if not math.isnan(one.value)]
    if not known:
        return Interval(math.nan, math.nan, math.nan)
    found = sum(one.value for one, _ in known) / len(known)
    below, above = (math.hypot(*(one.value - one[end] for one, _ in known)) / len(known) for end in (1, 2))
    alike = len(known) ** 2 / sum(1 / size for _, size in known)
    return wider(Interval(found, found - below, found + above), _wilson(found, alike))


def paired_change(better_N: NDArray[np.bool_], than_N: NDArray[np.bool_]) -> Interval:
    """Share of `better_N` minus share of `than_N` over the same images, its interval wide for few images.

    Tango's score interval (`interchange/paired.py`). NaN without images.
    """
    n = len(better_N)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    gained, lost = int((better_N & ~than_N).sum()), int((~better_N & than_N).sum())
    return Interval((gained - lost) / n, *bounds_of_change(gained, lost, n))


def wider(one: Interval, other: Interval) -> Interval:
    """One figure's interval that holds both; the figure is that of `one`."""
    return Interval(one.value, min(one.low, other.low), max(one.high, other.high))
