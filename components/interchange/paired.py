"""How far a share may have changed, by images that two sides answered: Tango's interval (1998), for few images, too.

Statistics in Medicine 17, 891-908: every change that a score test at its value does not refuse. A non-inferiority test
by its lower bound errs as often as it should, even where no image tells the sides apart: `n` such images leave a change
of Z^2 / (n + Z^2) possible.
"""

import math
from statistics import NormalDist

from components.interchange.report import CONFIDENCE

Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
HALVINGS = 50


def bounds_of_change(gained: float, lost: float, n: float) -> tuple[float, float]:
    """Ends of the interval of (`gained` - `lost`) / `n`: of `n` images these were right on the one side alone.

    They may be parts of an image, as where shares of some images are thought of as those of more.
    """
    return -_largest_change(lost, gained, n), _largest_change(gained, lost, n)


def _largest_change(gained: float, lost: float, n: float) -> float:
    """The change above what was found that lies `Z` standard errors from it, as they would be at that change."""

    def beyond(change: float) -> float:
        away = n * change - (gained - lost)
        # The likeliest share of lost images at that change, by the root of a quadratic.
        middle = (2 * n - gained + lost) * change - gained - lost
        root = math.sqrt(max(0.0, middle**2 + 8 * n * lost * change * (1 - change)))  # Rounding may leave less.
        share_lost = (root - middle) / (4 * n)
        return away**2 - Z**2 * n * (2 * share_lost + change * (1 - change))

    low, high = (gained - lost) / n, 1.0  # What was found lies within, and no change is more than all images.
    for _ in range(HALVINGS if gained < n else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) > 0 else (middle, high)
    return high
