"""The epochs of a training: train, validate after each, keep the best, stop when val gets no better."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from components.finetune.checkpoint import Checkpoints, pauses
from components.finetune.devices import Hardware
from components.finetune.distributed import World
from components.finetune.ema import moving_average
from components.finetune.epoch import out_of_time, train_epoch
from components.finetune.freezing import epochs_in_vain, freeze_at, freeze_stages, train_mode
from components.finetune.gradients import Loss
from components.finetune.param_groups import ParamGroup, stages_of
from components.finetune.plan import Plan
from components.finetune.rates import Ledger, watch_rates
from components.finetune.replay import replay_of
from components.finetune.resident import resident_if_fitting
from components.finetune.state import Progress, State, optimizer_over, with_peak
from components.finetune.termination import termination
from components.finetune.validate import Scores, validate
from components.interchange.dataset import Split
from components.interchange.errors import BadInput
from components.interchange.pixels_to_logits import PixelsToLogits

log = logging.getLogger("graft")


@dataclass(frozen=True)
class Fitted:
    """`history` holds one record an epoch: epoch (from 1), steps, train_loss, val_top1, val_nll, and lr by group at its
    last step.

    `best_state` is the state dict after `best_epoch`, on the CPU; `seconds` and `images_per_s` are one an epoch, the
    latter None where a restart found all steps taken; `rates` one a step, by group.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    best_state: dict[str, Tensor]
    device_batch: int
    seconds: list[float]
    images_per_s: list[float | None]
    rates: Ledger


def fit(
    model: PixelsToLogits,
    groups: Callable[[], list[ParamGroup]],
    loss: Loss,
    train: Split,
    val: Split,
    plan: Plan,
    hardware: Hardware,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Train with AdamW under warm-up and cosine. The best epoch has the highest val top-1, of equals the lowest nll.

    `groups` gives the param groups of what is trainable at the time. With `checkpoints` it continues where the last
    one stands, saves as it goes, and saves before it obeys SIGTERM.
    """
    if len(val) < hardware.world.size:
        raise BadInput(f"{len(val)} val images cannot be shared by {hardware.world.size} processes. Start fewer.")
    freeze_stages(model.model, stages_of(model.model), plan.freeze)
    progress = Progress(device_batch=plan.device_batch_size or plan.batch_size)
    world, resident = hardware.world, resident_if_fitting(train, hardware.device)
    state = State(model.model, optimizer_over(groups()), progress, moving_average(model.model, plan.ema_decay))
    if checkpoints is not None:
        checkpoints.restore(state)
    watch_rates(state.optimizer, state.progress.rates)
    scored = PixelsToLogits(state.shipped, model.preprocessing)
    state.replay = replay_of(model.model, hardware, plan.compile_model)
    if plan.compile_model:
        model.compile()
    with termination(checkpoints is not None) as asked:
        pause = pauses(checkpoints, state, lambda: world.greatest(asked()) > 0)
        while not _done(state, plan):
            thaw(state, groups, plan)
            train_mode(model, plan.frozen_batchnorm)
            images_per_s = train_epoch(world.joined(model), loss, state, train, plan, hardware, resident, pause)
            world.align(scored)
            scores = validate(scored, val, plan.augmentation.crop_px, 2 * state.progress.device_batch, hardware, pause)
            _close_epoch(state, scores, images_per_s, plan, world)
    if checkpoints is not None:
        checkpoints.finish()
    at = state.progress
    return Fitted(at.history, at.best_epoch, state.best, at.device_batch, at.seconds, at.images_per_s, at.rates)


def thaw(state: State, groups: Callable[[], list[ParamGroup]], plan: Plan) -> None:
    """Unfreeze what is due at this epoch and give it to the optimiser."""
    freeze_stages(state.model, stages_of(state.model), freeze_at(plan.freeze, plan.unfreeze_at, state.progress.epoch))
    known = {id(parameter) for group in state.optimizer.param_groups for parameter in group["params"]}
    for group in groups():
        new = [parameter for parameter in group["params"] if id(parameter) not in known]
        if new:
            state.optimizer.add_param_group(with_peak({**group, "params": new}))
            state.fits = 0  # Its gradients need memory that no batch has needed so far.
            log.info("epoch=%d unfrozen=%s tensors=%d", state.progress.epoch, group["name"], len(new))


def _close_epoch(state: State, scores: Scores, images_per_s: float | None, plan: Plan, world: World) -> None:
    """Write the epoch down, keep the weights if they are the best so far, and go on to the next."""
    at = state.progress
    if not math.isfinite(scores.nll):
        raise BadInput(
            f"after epoch {at.epoch} the model's answers on val are no numbers: the training diverged. Lower "
            "--base-lr, or raise --warmup-fraction."
        )
    record = {
        "epoch": at.epoch,
        "steps": len(at.losses),
        "train_loss": sum(at.losses) / len(at.losses),
        "val_top1": scores.top1,
        "val_nll": scores.nll,
        "lr": {name: rates[-1] for name, rates in at.rates.items()},
    }
    at.history.append(record)
    state.keep_if_best()
    at.validation_s = world.greatest(state.tick())
    state.agree_on_time(world)
    at.seconds.append(at.elapsed_s - sum(at.seconds))
    at.images_per_s.append(images_per_s)
    pace = "" if images_per_s is None else f" images_per_s={images_per_s:.1f}"
    log.info(
        "epoch=%d/%d loss=%.3f val_top1=%.3f val_nll=%.3f%s left_s=%.0f",
        at.epoch, plan.num_epochs, record["train_loss"], *scores, pace, _left_s(at, plan),
    )  # fmt: skip
    at.epoch, at.batch, at.losses = at.epoch + 1, 0, []


def _left_s(at: Progress, plan: Plan) -> float:
    """Seconds to the last epoch at the pace so far, or to the end of the time that is given."""
    by_epochs = (plan.num_epochs - at.epoch) * at.elapsed_s / at.epoch
    return by_epochs if plan.limit_s is None else min(by_epochs, max(plan.limit_s - at.elapsed_s, 0.0))


def _done(state: State, plan: Plan) -> bool:
    """Whether all epochs are through, time is up, or val got no better for too long; never amid an epoch."""
    trained = state.progress.epoch - 1
    if trained == 0 or state.progress.batch > 0 or trained >= plan.num_epochs:
        return trained >= plan.num_epochs
    early = epochs_in_vain(trained, state.progress.best_epoch, plan.unfreeze_at) >= plan.patience
    late = not early and out_of_time(state, plan)
    if early:
        log.info("early_stop=epoch %d best_epoch=%d patience=%d", trained, state.progress.best_epoch, plan.patience)
    if late:
        log.info("time_up=epoch %d of %d elapsed_s=%.0f", trained, plan.num_epochs, state.progress.elapsed_s)
    return early or late
