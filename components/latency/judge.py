"""What the times allow to say: pass, fail or inconclusive, and whether the machine was quiet enough to say it."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.latency.intervals import Estimate
from components.latency.measure import BLOCK_RUNS

Verdict = Literal["pass", "fail", "inconclusive"]
MOST_P50_DIFFERENCE = 0.05
MOST_P99_DIFFERENCE = 0.25
MOST_WAITING = 0.1


class Noise(NamedTuple):
    """How much the same thing differs from itself: relative differences of p50 and p99 between halves of the runs.

    `waiting` is the share of the time in which something on the machine waited for a core; None where unknown.
    """

    p50_difference: float
    p99_difference: float
    waiting: float | None

    @property
    def too_much(self) -> bool:
        differs = self.p50_difference > MOST_P50_DIFFERENCE or self.p99_difference > MOST_P99_DIFFERENCE
        return differs or (self.waiting or 0.0) > MOST_WAITING


def noise(samples_ms: NDArray[np.float64], waiting: float | None = None) -> Noise:
    """An A/A test: every other block of runs against the blocks between them, and the first half against the second.

    What differs is the machine: the former shows what comes and goes, the latter what stays. The larger counts. Work
    that was there from the first run to the last shows in `waiting` alone.
    """
    runs = np.arange(len(samples_ms))
    block = min(BLOCK_RUNS, len(samples_ms) // 2)  # Few runs are two blocks, too.
    halves = runs // block % 2 == 0, runs < len(samples_ms) / 2
    p50, p99 = (max(_difference(samples_ms, half, percent) for half in halves) for percent in (50, 99))
    return Noise(p50, p99, waiting)


def _difference(samples_ms: NDArray[np.float64], half: NDArray[np.bool_], percent: float) -> float:
    one, other = (float(np.percentile(samples_ms[side], percent)) for side in (half, ~half))
    return abs(one - other) / min(one, other)


def verdict(p50: Estimate, p99: Estimate, max_ms: float, too_noisy: bool) -> Verdict:
    """The whole interval of p99 against the budget. Noise only slows: a pass stands, as does a p50 over the budget."""
    if p99.high is not None and p99.high <= max_ms:
        return "pass"
    surely_slower = p50.low is not None and p50.low > max_ms
    clearly_slower = p99.low is not None and p99.low > max_ms
    return "fail" if surely_slower or (clearly_slower and not too_noisy) else "inconclusive"
