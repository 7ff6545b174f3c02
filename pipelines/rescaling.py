"""The other mean and standard deviation that explain a client's answers most.

Pixels are seen with the contract's std / scale, and with its mean lowered by `shift` (on [0, 1]), the same for all
channels. Legend: N images, C classes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange.preprocessing import Preprocessing
from pipelines import faults
from pipelines.answer_scale import rms

Answer = NDArray[np.float64]
STEP = 0.02  # Of scale and shift, where the answers still follow a straight line.
MOST_ROUNDS, WORTH_A_ROUND = 8, 0.97


class Rescaling(NamedTuple):
    """Pixels as seen with std / scale and mean - shift."""

    scale: float
    shift: float

    def words(self, contract: Preprocessing) -> str:
        """The mean and std that the client seems to have."""
        mean = ", ".join(f"{value - self.shift:.2f}" for value in contract.mean)
        std = ", ".join(f"{value / self.scale:.2f}" for value in contract.std)
        return f"as if with another mean or std: about mean ({mean}), std ({std})"


def searched(
    contract: Preprocessing, pixels: Sequence[faults.Pixels], left: Callable[[Sequence[faults.Pixels]], float]
) -> Rescaling:
    """The one that leaves least, searched coarsely, then finer around the best: for large departures.

    `left` says how far the answers to pixels are from the client's.
    """
    best, step, reach = Rescaling(1.0, 0.0), 0.6, 0.2
    for _ in range(4):
        grid = [
            Rescaling(best.scale * (1 + step) ** power, best.shift + reach * offset)
            for power in (-1, 0, 1)
            for offset in (-1, -0.5, 0, 0.5, 1)
        ]
        best = min(grid, key=lambda one: left(seen(contract, pixels, one)))
        step, reach = step / 2, reach / 2
    return best


def fitted(
    contract: Preprocessing,
    pixels: Sequence[faults.Pixels],
    answers: Callable[[Sequence[faults.Pixels]], Answer],
    right_NC: Answer,
    said_NC: Answer,
) -> Rescaling:
    """The one of least squares, for departures through which the answers bend little (Gauss and Newton's iteration)."""
    found, at_NC = Rescaling(1.0, 0.0), right_NC
    left = rms(said_NC - at_NC)
    for _ in range(MOST_ROUNDS):
        slopes = [
            (answers(seen(contract, pixels, above)) - answers(seen(contract, pixels, below))).ravel() / (2 * STEP)
            for above, below in (
                (Rescaling(found.scale * (1 + STEP), found.shift), Rescaling(found.scale * (1 - STEP), found.shift)),
                (Rescaling(found.scale, found.shift + STEP), Rescaling(found.scale, found.shift - STEP)),
            )
        ]
        (scale, shift), *_ = np.linalg.lstsq(np.stack(slopes, axis=1), (said_NC - at_NC).ravel(), rcond=None)
        shift = float(np.clip(found.shift + shift, -0.5, 0.5))
        better = Rescaling(found.scale * (1 + float(np.clip(scale, -0.5, 1))), shift)
        at_NC = answers(seen(contract, pixels, better))
        before, left = left, rms(said_NC - at_NC)
        if left >= before:
            break
        found = better
        if left > WORTH_A_ROUND * before:
            break
    return found


def seen(contract: Preprocessing, pixels: Sequence[faults.Pixels], by: Rescaling) -> list[faults.Pixels]:
    """The pixels that a right client would have to feed to be seen so."""
    mean = 255 * np.array(contract.mean, np.float32)
    return [(by.scale * (image - mean + 255 * by.shift) + mean).astype(np.float32) for image in pixels]
