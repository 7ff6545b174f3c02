"""Scores on val while training: centre crops, eval mode and fp32, as evaluate has them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from components.interchange import scoring
from components.interchange.classifier import PixelsToLogits, predict_logits
from components.interchange.dataset import Split
from components.interchange.progress import progress


class Scores(NamedTuple):
    """Top-1 (a fraction) and negative log-likelihood (nats) on a split."""

    top1: float
    nll: float


def validate(
    model: PixelsToLogits, split: Split, crop_px: int, batch_size: int, device: torch.device, pause: Callable[[], None]
) -> Scores:
    """Score a split, and leave the model in eval mode. `pause` is called between batches and may end it all."""

    def crops() -> Iterator[NDArray[np.uint8]]:
        starts = range(0, len(split), batch_size)
        for start in progress(starts, f"score {split.name}", unit=" batches"):
            pause()
            yield split.center_crops(range(start, min(start + batch_size, len(split))), crop_px)

    logits_NC = predict_logits(model, crops(), device)
    return Scores(scoring.top1(logits_NC, split.labels_N), scoring.nll(logits_NC, split.labels_N))
