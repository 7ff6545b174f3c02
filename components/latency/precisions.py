"""The precisions of one model against each other, in turn, and which of them to ship. No torch."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.latency.measure import Clock, Estimate, timed_ms

TURNS = 100
WARM_UP_TURNS = 10


class Rival(NamedTuple):
    """p50 of one precision, and whether its accuracy allows it to ship."""

    precision: str
    p50: Estimate
    eligible: bool


def in_turn(calls: Mapping[str, Callable[[int], object]], clock: Clock) -> dict[str, NDArray[np.float64]]:
    """Milliseconds by precision, TURNS each, one run of each in turn: what slows the machine slows all of them."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(WARM_UP_TURNS + TURNS):
        for name, call in calls.items():
            samples[name].append(timed_ms(call, turn, clock))
    return {name: np.array(found[WARM_UP_TURNS:]) for name, found in samples.items()}


def recommended(shipped: str, rivals: list[Rival]) -> str:
    """The fastest precision whose accuracy passed; the one that ships stays unless another is clearly faster."""
    own = next(rival for rival in rivals if rival.precision == shipped)
    best = own
    for rival in rivals:
        clearly = not own.eligible or (
            rival.p50.high is not None and own.p50.low is not None and rival.p50.high < own.p50.low
        )
        if rival.eligible and clearly and (rival.p50.value < best.p50.value or not best.eligible):
            best = rival
    return best.precision
