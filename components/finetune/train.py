"""One step of training and one validation, as functions over a model, an optimiser and batches.

Legend: N images, H height, W width, C channels (of images) or classes (of logits).
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.finetune.augment import flip
from components.finetune.batches import Batch
from components.interchange import scoring
from components.interchange.classifier import PixelsToLogits, predict_logits
from components.interchange.dataset import Split
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


def gradients(
    model: PixelsToLogits, batch: Batch, device: torch.device, precision: Precision, label_smoothing: float
) -> Tensor:
    """Leave the gradient of the batch's mean loss in the parameters, in place of what was there; return the loss."""
    pixels_NHWC, labels_N, horizontal_N, vertical_N = (part.to(device, non_blocking=True) for part in batch[:4])
    pixels_NHWC = flip(pixels_NHWC, horizontal_N, vertical_N)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits_NC = model(pixels_NHWC)
    loss = nn.functional.cross_entropy(logits_NC.float(), labels_N, label_smoothing=label_smoothing)
    model.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    return loss.detach()


def validate(
    model: PixelsToLogits,
    split: Split,
    crop_px: int,
    batch_size: int,
    device: torch.device,
    pause: Callable[[], None] = lambda: None,
) -> Scores:
    """Score the centre crops of a split in eval mode and fp32, as evaluate does. Leaves the model in eval mode.

    `pause` is called between batches and may end it all.
    """

    def crops() -> Iterator[NDArray[np.uint8]]:
        starts = range(0, len(split), batch_size)
        for start in progress(starts, f"score {split.name}", unit=" batches"):
            pause()
            yield split.center_crops(range(start, min(start + batch_size, len(split))), crop_px)

    logits_NC = predict_logits(model, crops(), device)
    return Scores(scoring.top1(logits_NC, split.labels_N), scoring.nll(logits_NC, split.labels_N))
