"""The epochs of a training: train, validate after each, keep the best, stop when val gets no better."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.finetune.batches import epoch_batches, prefetched
from components.finetune.checkpoint import Checkpoints, pauses
from components.finetune.freezing import FrozenBatchNorm, train_mode
from components.finetune.param_groups import ParamGroup
from components.finetune.sampling import batches_an_epoch, model_seed
from components.finetune.schedule import warmup_cosine
from components.finetune.state import Progress, State, optimizer_over
from components.finetune.termination import termination
from components.finetune.train import Precision, Scores, gradients, validate
from components.interchange.classifier import PixelsToLogits
from components.interchange.dataset import Split
from components.interchange.errors import BadInput, listed
from components.interchange.progress import progress

log = logging.getLogger("graft")


@dataclass(frozen=True)
class Plan:
    """How long and in what portions to train; sizes in images and pixels."""

    num_epochs: int
    patience: int
    batch_size: int
    crop_px: int
    warmup_fraction: float
    label_smoothing: float
    vertical_flips: bool
    frozen_batchnorm: FrozenBatchNorm
    seed: int


@dataclass(frozen=True)
class Fitted:
    """`history` holds one record an epoch: epoch (from 1), train_loss, val_top1, val_nll, lr by group at its last step.

    `factors` is the schedule's factor of every step: a group's rate was its peak times that. `best_state` is the state
    dict after `best_epoch`, on the CPU; `seconds` and `images_per_s` are one an epoch.
    """

    history: list[dict[str, Any]]
    factors: list[float]
    best_epoch: int
    best_state: dict[str, Tensor]
    seconds: list[float]
    images_per_s: list[float]


def fit(
    model: PixelsToLogits,
    groups: Sequence[ParamGroup],
    train: Split,
    val: Split,
    plan: Plan,
    device: torch.device,
    precision: Precision,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Train with AdamW under warm-up and cosine. The best epoch has the highest val top-1, of equals the lowest nll.

    With `checkpoints` it continues where the last one stands, saves as it goes, and saves before it obeys SIGTERM.
    """
    state = State(model.model, optimizer_over(groups), Progress(device_batch=plan.batch_size))
    if checkpoints is not None:
        checkpoints.restore(state)
    with termination(checkpoints is not None) as asked:
        pause = pauses(checkpoints, state, asked)
        while not _done(state.progress, plan):
            train_mode(model, plan.frozen_batchnorm)
            images_per_s = train_epoch(model, state, train, plan, device, precision, pause)
            scores = validate(model, val, plan.crop_px, 2 * plan.batch_size, device, pause)
            _close_epoch(state, scores, images_per_s, plan)
    if checkpoints is not None:
        checkpoints.finish()
    at = state.progress
    return Fitted(at.history, at.factors, at.best_epoch, state.best, at.seconds, at.images_per_s)


def train_epoch(
    model: PixelsToLogits,
    state: State,
    train: Split,
    plan: Plan,
    device: torch.device,
    precision: Precision,
    pause: Callable[[], None],
) -> float:
    """Take the steps of the epoch that are left, and return the images a second.

    BadInput when the loss is no finite number, before it reaches the weights.
    """
    at, steps = state.progress, batches_an_epoch(len(train), plan.batch_size)
    started, images = time.perf_counter(), 0
    drawn = epoch_batches(train, plan.batch_size, plan.crop_px, plan.vertical_flips, plan.seed, at.epoch, at.batch)
    label = f"epoch {at.epoch}/{plan.num_epochs}"
    for batch in progress(prefetched(drawn), label, total=steps - at.batch, unit=" batches"):
        pause()
        torch.manual_seed(model_seed(plan.seed, at.epoch, at.batch))
        loss = gradients(model, batch, device, precision, plan.label_smoothing).item()
        if not math.isfinite(loss):
            raise BadInput(_not_finite(loss, state, steps, [train.ids[row] for row in batch.rows_N]))
        at.factors.append(_factor(state, plan, steps))
        for group in state.optimizer.param_groups:
            group["lr"] = at.factors[-1] * group["peak_lr"]
        state.optimizer.step()
        at.losses.append(loss)
        at.batch += 1
        images += len(batch.rows_N)
        state.tick()
    return images / (time.perf_counter() - started)


def _factor(state: State, plan: Plan, steps: int) -> float:
    """The schedule's factor for the step at hand."""
    num_steps = plan.num_epochs * steps
    warmup_steps = min(round(plan.warmup_fraction * num_steps), num_steps - 1)
    return warmup_cosine(state.step(steps), num_steps, warmup_steps)


def _not_finite(loss: float, state: State, steps: int, ids: list[str]) -> str:
    return (
        f"the loss became {loss} at step {state.step(steps)} (epoch {state.progress.epoch}, batch "
        f"{state.progress.batch}), on the images {listed(ids)}. Lower --base-lr, or raise --warmup-fraction."
    )


def _close_epoch(state: State, scores: Scores, images_per_s: float, plan: Plan) -> None:
    """Write the epoch down, keep the weights if they are the best so far, and go on to the next."""
    at = state.progress
    record = {
        "epoch": at.epoch,
        "train_loss": sum(at.losses) / len(at.losses),
        "val_top1": scores.top1,
        "val_nll": scores.nll,
        "lr": {group["name"]: at.factors[-1] * group["peak_lr"] for group in state.optimizer.param_groups},
    }
    at.history.append(record)
    state.keep_if_best()
    state.tick()
    at.seconds.append(at.elapsed_s - sum(at.seconds))
    at.images_per_s.append(images_per_s)
    log.info(
        "epoch=%d/%d loss=%.3f val_top1=%.3f val_nll=%.3f images_per_s=%.1f left_s=%.0f",
        at.epoch, plan.num_epochs, record["train_loss"], *scores, images_per_s,
        (plan.num_epochs - at.epoch) * at.elapsed_s / at.epoch,
    )  # fmt: skip
    at.epoch, at.batch, at.losses = at.epoch + 1, 0, []


def _done(at: Progress, plan: Plan) -> bool:
    """Whether all epochs are through, or val got no better for too long."""
    trained = at.epoch - 1
    early = trained - at.best_epoch >= plan.patience
    if early and trained < plan.num_epochs:
        log.info("early_stop=epoch %d best_epoch=%d patience=%d", trained, at.best_epoch, plan.patience)
    return early or trained >= plan.num_epochs
