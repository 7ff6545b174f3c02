"""Timing of a call: warm-up until the times settle, runs of which every sample is kept, percentiles with intervals.

The clock (in seconds) and the call are given, so that all of this can be tested to the digit.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, t

Clock = Callable[[], float]
Call = Callable[[int], object]

BLOCK_RUNS = 20
SETTLED_WITHIN = 0.05
MIN_BATCHES = 5
NUM_BLOCKS = 20  # Of 50 runs, where 1,000 are timed.
RESAMPLES = 400


class Estimate(NamedTuple):
    """A figure with its interval; a bound is None where the samples are too few to give one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class WarmUp:
    """How many runs were discarded, and whether the times had settled by then."""

    runs: int
    settled: bool


def timed_ms(call: Call, run: int, clock: Clock) -> float:
    """Milliseconds that `call(run)` took."""
    started = clock()
    call(run)
    return (clock() - started) * 1000


def warm_up(call: Call, clock: Clock, max_runs: int) -> WarmUp:
    """Run in blocks of 20 until a block's median is within 5 % of the median of the block before, or `max_runs`."""
    before: float | None = None
    for first in range(0, max_runs - BLOCK_RUNS + 1, BLOCK_RUNS):
        median = float(np.median([timed_ms(call, first + run, clock) for run in range(BLOCK_RUNS)]))
        if before is not None and abs(median - before) <= SETTLED_WITHIN * before:
            return WarmUp(first + BLOCK_RUNS, True)
        before = median
    rest = max_runs % BLOCK_RUNS
    for run in range(rest):
        call(max_runs - rest + run)
    return WarmUp(max_runs, False)


def time_runs(call: Call, clock: Clock, runs: Iterable[int]) -> NDArray[np.float64]:
    """Milliseconds of every run. What `runs` does between two of them (a progress bar) is not timed."""
    return np.array([timed_ms(call, run, clock) for run in runs], np.float64)


def time_for(call: Call, clock: Clock, seconds: float) -> NDArray[np.float64]:
    """Milliseconds of every run, as many as begin within `seconds`, at least 5."""
    ends = clock() + seconds
    samples: list[float] = []
    while len(samples) < MIN_BATCHES or clock() < ends:
        samples.append(timed_ms(call, len(samples), clock))
    return np.array(samples, np.float64)


def runs_for(percent: int) -> int:
    """Runs that a percentile needs at least: ten beyond it. 20 for p50, 100 for p90, 1,000 for p99."""
    return round(1000 / (100 - percent))


def percentile(samples: NDArray[np.float64], percent: int, confidence: float) -> Estimate:
    """The smallest sample that `percent` of the samples do not exceed, with an interval that assumes no distribution.

    The interval lies between two order statistics: how many of n samples fall below the true percentile is binomial.
    David and Nagaraja, Order Statistics, 3rd edition, section 7.1. Its coverage is at least `confidence`. Fewer
    samples than `runs_for(percent)` have no upper bound, as that of p99 would hang on the slowest of 400 alone; the
    lower one is None where they are too few for any.

    That holds for samples that do not depend on each other; runs one after the other do, since what slows a machine
    lasts. So a bound lies at least as far out as that of a bootstrap of whole blocks of runs, in their order.
    """
    ordered, n, share = np.sort(samples), len(samples), percent / 100
    value = float(np.percentile(ordered, percent, method="inverted_cdf"))
    tail = (1 - confidence) / 2
    low_rank, high_rank = int(binom.ppf(tail, n, share)), int(binom.ppf(1 - tail, n, share)) + 1
    lowest, highest = _of_blocks(samples, percent, tail)
    low = min(lowest, float(ordered[low_rank - 1])) if low_rank >= 1 else None
    high = max(highest, float(ordered[high_rank - 1])) if n >= runs_for(percent) else None
    return Estimate(value, low, high)


def _of_blocks(samples: NDArray[np.float64], percent: float, tail: float) -> tuple[float, float]:
    """Bounds of a percentile over resamples of NUM_BLOCKS neighbouring blocks (Künsch 1989, without overlap)."""
    num_blocks = min(NUM_BLOCKS, len(samples))
    size = len(samples) // num_blocks
    blocks = samples[: num_blocks * size].reshape(num_blocks, size)
    drawn = blocks[np.random.default_rng(0).integers(num_blocks, size=(RESAMPLES, num_blocks))].reshape(RESAMPLES, -1)
    rank = math.ceil(percent / 100 * drawn.shape[1]) - 1
    found = np.partition(drawn, rank, axis=1)[:, rank]
    low, high = np.percentile(found, [100 * tail, 100 * (1 - tail)])
    return float(low), float(high)


def throughput(samples_ms: NDArray[np.float64], batch: int, confidence: float) -> Estimate:
    """Images a second over all batches, with Student's interval of the mean batch time."""
    mean = float(samples_ms.mean())
    spread = float(samples_ms.std(ddof=1)) / len(samples_ms) ** 0.5
    reach = float(t.ppf((1 + confidence) / 2, len(samples_ms) - 1)) * spread
    images = batch * 1000
    return Estimate(images / mean, images / (mean + reach), images / (mean - reach) if mean > reach else None)
