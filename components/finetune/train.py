"""One epoch of training and one validation, as functions over a model, an optimiser and batches.

Legend: N images, H height, W width, C channels (of images) or classes (of logits).
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from components.finetune.augment import flip
from components.finetune.batches import Batch
from components.interchange import scoring
from components.interchange.classifier import PixelsToLogits, predict_logits
from components.interchange.dataset import Split
from components.interchange.errors import BadInput
from components.interchange.progress import progress

Precision = Literal["bf16", "fp32"]


class Scores(NamedTuple):
    """Top-1 (a fraction) and negative log-likelihood (nats) on a split."""

    top1: float
    nll: float


def choose_precision(device: torch.device) -> Precision:
    """bf16 where the hardware multiplies it: CUDA with bf16, CPUs with AVX512-BF16 or AMX. Elsewhere it is emulated,
    slower than fp32, which is then taken.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    found = torch.cpu.get_capabilities()
    return "bf16" if found.get("avx512_bf16", False) or found.get("amx_bf16", False) else "fp32"


def train_epoch(
    model: PixelsToLogits,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler,
    batches: Iterator[Batch],
    device: torch.device,
    precision: Precision,
    label_smoothing: float,
) -> float:
    """Take one step a batch and return the mean loss. The model stands on `device` and in the mode it should have.

    BadInput when the loss is no finite number, before it reaches the weights.
    """
    losses = []
    for batch in batches:
        loss = _loss(model, batch, device, precision, label_smoothing)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise BadInput(
                f"the loss became {losses[-1]} at step {scheduler.last_epoch}. Lower --base-lr, or raise "
                "--warmup-fraction."
            )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        scheduler.step()
    return sum(losses) / len(losses)


def _loss(
    model: PixelsToLogits, batch: Batch, device: torch.device, precision: Precision, label_smoothing: float
) -> Tensor:
    pixels_NHWC, labels_N, horizontal_N, vertical_N = (part.to(device, non_blocking=True) for part in batch)
    pixels_NHWC = flip(pixels_NHWC, horizontal_N, vertical_N)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits_NC = model(pixels_NHWC)
    return nn.functional.cross_entropy(logits_NC.float(), labels_N, label_smoothing=label_smoothing)


def validate(model: PixelsToLogits, split: Split, crop_px: int, batch_size: int, device: torch.device) -> Scores:
    """Score the centre crops of a split in eval mode and fp32, as evaluate does. Leaves the model in eval mode."""
    starts = range(0, len(split), batch_size)
    crops = (
        split.center_crops(range(start, min(start + batch_size, len(split))), crop_px)
        for start in progress(starts, f"score {split.name}", unit=" batches")
    )
    logits_NC = predict_logits(model, crops, device)
    return Scores(scoring.top1(logits_NC, split.labels_N), scoring.nll(logits_NC, split.labels_N))
