"""Intervals of shares that hold for few images too, where a bootstrap of all-right images would say [1, 1].

Legend: N images.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from components.evaluate.bootstrap import Interval
from components.interchange.report import CONFIDENCE

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


def paired_change(better_N: NDArray[np.bool_], than_N: NDArray[np.bool_]) -> Interval:
    """Share of `better_N` minus share of `than_N` over the same images, its interval wide for few images.

    Agresti and Min 2005 (Statistics in Medicine 24, 729-740): Wald's interval after half an image was added to each
    cell of the two-by-two table. NaN without images.
    """
    n = len(better_N)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    gained, lost = int((better_N & ~than_N).sum()), int((~better_N & than_N).sum())
    found, centre = (gained - lost) / n, (gained - lost) / (n + 2)
    half = Z * math.sqrt(gained + lost + 1 - (gained - lost) ** 2 / (n + 2)) / (n + 2)
    return Interval(found, min(max(-1.0, centre - half), found), max(min(1.0, centre + half), found))
