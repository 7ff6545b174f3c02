"""What samples of times say: percentiles and throughput with intervals that hold where runs depend on each other."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, t

NUM_PARTS = 20  # Of 50 runs, where 1,000 are timed one after the other.


class Estimate(NamedTuple):
    """A figure with its interval; a bound is None where the samples are too few to give one."""

    value: float
    low: float | None
    high: float | None


def runs_for(percent: int) -> int:
    """Runs that a percentile needs at least: ten beyond it. 20 for p50, 100 for p90, 1,000 for p99."""
    return round(1000 / (100 - percent))


def percentile(samples: NDArray[np.float64], percent: int, confidence: float, num_parts: int = NUM_PARTS) -> Estimate:
    """The smallest sample that `percent` of the samples do not exceed, with an interval that assumes no distribution.

    The interval lies between two order statistics: how many of n samples fall below the true percentile is binomial.
    David and Nagaraja, Order Statistics, 3rd edition, section 7.1. Its coverage is at least `confidence`. Fewer
    samples than `runs_for(percent)` have no upper bound, as that of p99 would hang on the slowest of 400 alone; the
    lower one is None where they are too few for any.

    That holds for samples that do not depend on each other; runs of one process and runs one after the other do. So a
    bound lies at least as far out as what `num_parts` neighbouring parts of the samples allow, which may differ: it is
    the nearest sample x for which Student's interval of the share of samples up to x leaves `percent` out, the parts
    taken as clusters. Francisco and Fuller, Quantile estimation with a complex survey design, Annals of Statistics
    19 (1991).
    """
    ordered, n, share = np.sort(samples), len(samples), percent / 100
    tail = (1 - confidence) / 2
    low, high = int(binom.ppf(tail, n, share)) - 1, int(binom.ppf(1 - tail, n, share))
    parts = [np.sort(part) for part in _parts(samples, num_parts)]
    if len(parts) > 1:
        up_to, reach = _shares(parts, ordered, "right", confidence)
        high = max(high, int(np.flatnonzero(np.append(True, up_to - reach < share))[-1]))
        below, reach = _shares(parts, ordered, "left", confidence)
        low = min(low, int(np.flatnonzero(np.append(below + reach > share, True))[0]) - 1)
    value = float(np.percentile(ordered, percent, method="inverted_cdf"))
    return Estimate(
        value,
        float(ordered[low]) if low >= 0 else None,
        float(ordered[high]) if n >= runs_for(percent) else None,
    )


def _shares(
    parts: list[NDArray[np.float64]], values: NDArray[np.float64], side: Literal["left", "right"], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The share of all samples up to (`left`: below) each value, and how far its interval reaches to either side."""
    counts = np.array([np.searchsorted(part, values, side) for part in parts])
    sizes = np.array([[len(part)] for part in parts])
    share = counts.sum(axis=0) / sizes.sum()
    return share, _reach(counts - sizes * share, int(sizes.sum()), confidence)


def throughput(samples_ms: NDArray[np.float64], batch: int, confidence: float, num_parts: int = NUM_PARTS) -> Estimate:
    """Images a second over all batches, with Student's interval of the mean batch time; parts as for `percentile`."""
    mean, parts = float(samples_ms.mean()), _parts(samples_ms, num_parts)
    departures = np.array([part.sum() - len(part) * mean for part in parts])
    reach = float(_reach(departures, len(samples_ms), confidence))
    images = batch * 1000
    return Estimate(images / mean, images / (mean + reach), images / (mean - reach) if mean > reach else None)


def _parts(samples: NDArray[np.float64], num_parts: int) -> list[NDArray[np.float64]]:
    return np.array_split(samples, min(num_parts, len(samples)))


def _reach(departures: NDArray[np.float64], n: int, confidence: float) -> NDArray[np.float64]:
    """How far Student's interval of a mean over n samples reaches, from how far the sums of its parts [K, …] are off.

    Cochran, Sampling Techniques, 3rd edition, chapter 9A: a ratio estimate over clusters of unequal size.
    """
    num_parts = len(departures)
    deviation = np.sqrt(num_parts / (num_parts - 1) * (departures**2).sum(axis=0)) / n
    return np.asarray(float(t.ppf((1 + confidence) / 2, num_parts - 1)) * deviation)
