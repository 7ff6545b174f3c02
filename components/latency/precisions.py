"""The precisions of one model against each other, in turn, and which of them to ship. No torch."""

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange.report import CONFIDENCE
from components.latency.figures import Figures
from components.latency.intervals import Estimate, percentile
from components.latency.measure import Call, Clock, timed_ms
from components.latency.served import Served

TURNS = 100
WARM_UP_TURNS = 10


class Rival(NamedTuple):
    """p50 of one precision, and whether its accuracy allows it to ship."""

    precision: str
    p50: Estimate
    eligible: bool


def in_turn(calls: Mapping[str, Call], clock: Clock) -> dict[str, NDArray[np.float64]]:
    """Milliseconds by precision, TURNS each, one run of each in turn: what slows the machine slows all of them."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(WARM_UP_TURNS + TURNS):
        for name, call in calls.items():
            samples[name].append(timed_ms(call, turn, clock))
    return {name: np.array(found[WARM_UP_TURNS:]) for name, found in samples.items()}


def against_each_other(served: Served, found: Figures) -> tuple[str, str]:
    """The precision to ship, and the advice in words; nothing is measured where there is but one."""
    card = served.card
    if not card.variants:
        return card.precision, ""
    calls: dict[str, Call] = {card.precision: served.call()}
    calls |= {variant.precision: served.call_otherwise(file=variant.file) for variant in card.variants}
    eligible: dict[str, bool] = {card.precision: card.eligible}
    eligible |= {variant.precision: variant.eligible for variant in card.variants}
    rivals = []
    for precision, samples_ms in in_turn(calls, time.perf_counter).items():
        found.add(precision, samples_ms)
        rivals.append(Rival(precision, percentile(samples_ms, 50, CONFIDENCE), eligible[precision]))
    best = recommended(card.precision, rivals)
    shown = ", ".join(f"{r.precision} {r.p50.value:.3g} ms{'' if r.eligible else ' (not eligible)'}" for r in rivals)
    keep = f"keep {best}" if best == card.precision else f"ship {best}: --set export_onnx.precision={best}"
    return best, f"Medians in turn: {shown}. The fastest that passed accuracy: {keep}."


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
