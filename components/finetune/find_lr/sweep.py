"""The range test: a training whose rate rises exponentially, a step at each rate, until the loss explodes.

Smith 2017, Cyclical Learning Rates for Training Neural Networks (arXiv:1506.01186), section 3.3; exponential as in
Gugger's and Howard's practice. Every param group keeps its multiple of the rate, here called `base_lr` as in training.
Legend: S steps.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from components.finetune.batches import Batch
from components.finetune.devices import Hardware
from components.finetune.epoch import batches_of, take_step
from components.finetune.freezing import train_mode
from components.finetune.gradients import Loss, leave_gradients
from components.finetune.param_groups import ParamGroup
from components.finetune.plan import Plan
from components.finetune.replay import replay_of
from components.finetune.resident import resident_if_fitting
from components.finetune.sampling import model_seed
from components.finetune.state import Progress, State, optimizer_over
from components.interchange.dataset import Split
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.progress import progress

EXPLODED = 4.0
WINDOW = 9  # Steps that a slope and a mean are taken over.


@dataclass(frozen=True)
class Sweep:
    """Finite losses in nats, each of a batch under the weights that the steps before have left, with the base_lr of
    the step that it led to. `exploded_lr` is the rate at which the loss exploded; None where it never did.
    """

    rates: list[float]
    losses: list[float]
    exploded_lr: float | None


@dataclass(frozen=True)
class Found:
    """`suggested_lr` is None where the loss fell nowhere by more than its noise. The window of the lowest mean loss
    has `lowest_lr` in its middle.
    """

    suggested_lr: float | None
    lowest_lr: float


def sweep(
    model: PixelsToLogits,
    groups: Sequence[ParamGroup],
    base_lr: float,
    loss: Loss,
    train: Split,
    plan: Plan,
    hardware: Hardware,
    rates: Sequence[float],
) -> Sweep:
    """Train what is not frozen, a step at each of `rates`, and change the model by it. `groups` have their rates at
    `base_lr`.

    The loss explodes when it is no number, or when the mean of the last steps is four times the lowest such mean and
    above that of the first steps.
    """
    train_mode(model, plan.frozen_batchnorm)
    state = State(model.model, optimizer_over(groups), Progress(device_batch=plan.device_batch_size or plan.batch_size))
    state.replay = replay_of(model.model, hardware, plan.compile_model)
    joined, losses = hardware.world.joined(model), list[float]()
    batches = _endless(train, plan, state, hardware)
    for rate in progress(rates, "range test", total=len(rates), unit=" steps"):
        at = state.progress
        batch = next(batches)
        torch.manual_seed(model_seed(plan.seed, at.epoch, at.batch, hardware.world.rank))
        value = float(leave_gradients(joined, loss, batch, plan.augmentation.crop_px, state, hardware))
        if not math.isfinite(value):
            return Sweep(list(rates[: len(losses)]), losses, rate)
        losses.append(value)
        if has_exploded(losses):
            return Sweep(list(rates[: len(losses)]), losses, rate)
        take_step(state, plan, rate / base_lr)
    return Sweep(list(rates), losses, None)


def _endless(train: Split, plan: Plan, state: State, hardware: Hardware) -> Iterator[Batch]:
    """Epoch after epoch of batches."""
    resident, at = resident_if_fitting(train, hardware.device), state.progress
    while True:
        yield from batches_of(train, plan, at, hardware, resident)
        at.epoch, at.batch = at.epoch + 1, 0


def has_exploded(losses: Sequence[float]) -> bool:
    """Whether the mean of the last steps is four times the lowest such mean, and above the first."""
    if len(losses) <= WINDOW:
        return False
    means_S = _windows(losses).mean(axis=1)
    return bool(means_S[-1] > EXPLODED * means_S.min() and means_S[-1] > means_S[0])


def found_in(rates: Sequence[float], losses: Sequence[float]) -> Found | None:
    """The rate of steepest descent; None where the steps are too few for a slope.

    The rule: for every window of 9 steps, the least-squares line of the loss over the logarithm of the rate. Of the
    windows up to that with the lowest mean loss, the middle of the one whose line falls most steeply. Where the lowest
    mean is not below the first by more than the first window's standard deviation, nothing was learnt, and nothing is
    suggested.
    """
    if len(losses) < WINDOW:
        return None
    losses_SW, logs_SW = _windows(losses), _windows(np.log10(rates))
    means_S = losses_SW.mean(axis=1)
    lowest = int(means_S.argmin())
    middles = [float(rate) for rate in rates[WINDOW // 2 : len(losses) - WINDOW // 2]]
    if means_S[lowest] >= means_S[0] - losses_SW[0].std(ddof=1):
        return Found(None, middles[lowest])
    logs_SW = logs_SW - logs_SW.mean(axis=1, keepdims=True)
    slopes_S = (logs_SW * losses_SW).sum(axis=1) / (logs_SW**2).sum(axis=1)
    return Found(middles[int(slopes_S[: lowest + 1].argmin())], middles[lowest])


def _windows(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Every run of 9 neighbours: [S - 8, 9]."""
    return np.lib.stride_tricks.sliding_window_view(np.asarray(values, np.float64), WINDOW)


def smoothed(losses: Sequence[float]) -> list[float]:
    """The mean of each step and its neighbours, fewer of them at the ends."""
    reach = WINDOW // 2
    return [float(np.mean(losses[max(0, at - reach) : at + reach + 1])) for at in range(len(losses))]
