"""Scores on val while training: centre crops and eval mode, as evaluate has them, in fp32 (on a GPU in TF32)."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.finetune.devices import Hardware
from components.interchange import scoring
from components.interchange.dataset import Split
from components.interchange.inference import predict_logits
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.progress import progress


class Scores(NamedTuple):
    """Top-1 (a fraction) and negative log-likelihood (nats) on a split."""

    top1: float
    nll: float


def validate(
    model: PixelsToLogits, split: Split, crop_px: int, batch_size: int, hardware: Hardware, pause: Callable[[], None]
) -> Scores:
    """Score a split, shared out among the processes, and leave the model in eval mode.

    `pause` is called between batches and may end it all.
    """
    most, own = (range(first, len(split), hardware.world.size) for first in (0, hardware.world.rank))

    def crops() -> Iterator[NDArray[np.uint8]]:
        # As many pauses in every process, which ask each other in them: the first one has the most images.
        for start in progress(range(0, len(most), batch_size), f"score {split.name}", unit=" batches"):
            pause()
            if start < len(own):
                yield split.center_crops(own[start : start + batch_size], crop_px)

    logits_NC = hardware.world.interleaved(predict_logits(model, crops(), hardware.device), len(split))
    return Scores(scoring.top1(logits_NC, split.labels_N), scoring.nll(logits_NC, split.labels_N))
