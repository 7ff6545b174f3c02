"""The epochs of a training run: validate after each, keep the best, stop when val gets no better."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from components.finetune.batches import batches_an_epoch, epoch_batches, prefetched
from components.finetune.freezing import FrozenBatchNorm, train_mode
from components.finetune.param_groups import ParamGroup
from components.finetune.schedule import warmup_cosine
from components.finetune.train import Precision, train_epoch, validate
from components.interchange.classifier import PixelsToLogits
from components.interchange.dataset import Split
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

    `best_state` is the state dict after `best_epoch`, on the CPU; `seconds` and `images_per_s` are one an epoch.
    """

    history: list[dict[str, Any]]
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
) -> Fitted:
    """Train with AdamW under warm-up and cosine. The best epoch has the highest val top-1, of equals the lowest nll."""
    steps_an_epoch = batches_an_epoch(len(train), plan.batch_size)
    num_steps = plan.num_epochs * steps_an_epoch
    optimizer = torch.optim.AdamW([dict(group) for group in groups])
    warmup_steps = min(round(plan.warmup_fraction * num_steps), num_steps - 1)
    scheduler = LambdaLR(optimizer, lambda step: warmup_cosine(step, num_steps, warmup_steps))
    rng = np.random.default_rng(plan.seed)
    fitted = Fitted([], 0, {}, [], [])
    for epoch in range(1, plan.num_epochs + 1):
        started = time.perf_counter()
        train_mode(model, plan.frozen_batchnorm)
        drawn = epoch_batches(train, plan.batch_size, plan.crop_px, plan.vertical_flips, rng)
        batches = progress(prefetched(drawn), f"epoch {epoch}/{plan.num_epochs}", total=steps_an_epoch, unit=" batches")
        loss = train_epoch(model, optimizer, scheduler, batches, device, precision, plan.label_smoothing)
        trained = time.perf_counter() - started
        scores = validate(model, val, plan.crop_px, 2 * plan.batch_size, device)
        factor = warmup_cosine(scheduler.last_epoch - 1, num_steps, warmup_steps)
        record = {
            "epoch": epoch,
            "train_loss": loss,
            "val_top1": scores.top1,
            "val_nll": scores.nll,
            "lr": {group["name"]: factor * group["initial_lr"] for group in optimizer.param_groups},
        }
        fitted = _with(
            fitted,
            record,
            model,
            time.perf_counter() - started,
            steps_an_epoch * min(plan.batch_size, len(train)) / trained,
        )
        left_s = (plan.num_epochs - epoch) * sum(fitted.seconds) / epoch
        log.info(
            "epoch=%d/%d loss=%.3f val_top1=%.3f val_nll=%.3f images_per_s=%.1f left_s=%.0f",
            epoch, plan.num_epochs, loss, *scores, fitted.images_per_s[-1], left_s,
        )  # fmt: skip
        if epoch - fitted.best_epoch >= plan.patience and epoch < plan.num_epochs:
            log.info("early_stop=epoch %d best_epoch=%d patience=%d", epoch, fitted.best_epoch, plan.patience)
            break
    return fitted


def _with(fitted: Fitted, record: dict[str, Any], model: PixelsToLogits, seconds: float, images_per_s: float) -> Fitted:
    history = [*fitted.history, record]
    best = max(history, key=lambda one: (one["val_top1"], -one["val_nll"]))
    state = fitted.best_state
    if best is record:
        state = {name: tensor.detach().cpu().clone() for name, tensor in model.model.state_dict().items()}
    return Fitted(history, best["epoch"], state, [*fitted.seconds, seconds], [*fitted.images_per_s, images_per_s])
