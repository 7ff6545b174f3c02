"""Timing of a call: warm-up until the times settle, and runs of which every sample is kept.

The clock (in seconds) and the call are given, so that all of this can be tested to the digit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Clock = Callable[[], float]
Call = Callable[[int], object]

BLOCK_RUNS = 20
SETTLED_WITHIN = 0.05
MIN_BATCHES = 5


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
