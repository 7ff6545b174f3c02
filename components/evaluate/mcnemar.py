"""McNemar's exact test: do two classifiers differ in how often they are right, on the same images?

N images.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


def mcnemar_p(right_N: NDArray[np.bool_], than_right_N: NDArray[np.bool_]) -> float:
    """Two-sided p of the exact test (McNemar 1947; exact form in Dietterich 1998, doi:10.1162/089976698300017197).

    Only images that exactly one classifier gets right count: if neither is better, each side wins such an image with
    probability 1/2. 1.0 where there is no such image.
    """
    wins, losses = int((right_N & ~than_right_N).sum()), int((than_right_N & ~right_N).sum())
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
