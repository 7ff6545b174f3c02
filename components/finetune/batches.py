"""Training batches: drawn without replacement, cropped, and put together while the previous one trains.

Legend: N images of a batch, H height, W width, C 3 channels.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from components.finetune.augment import random_crops
from components.interchange.dataset import Split


class Batch(NamedTuple):
    """uint8 `pixels_NHWC`, int64 `labels_N`, and which images to mirror."""

    pixels_NHWC: Tensor
    labels_N: Tensor
    horizontal_N: Tensor
    vertical_N: Tensor


def batches_an_epoch(num_images: int, batch_size: int) -> int:
    """Full batches in one pass; a split smaller than a batch makes one.

    The rest is left out, another one every epoch: BatchNorm's statistics of two or three images are worth little.
    """
    return max(1, num_images // batch_size)


def epoch_batches(
    split: Split, batch_size: int, crop_px: int, vertical_flips: bool, rng: np.random.Generator
) -> Iterator[Batch]:
    """One pass over the split in a random order; crops, flips and order are drawn from `rng` alone."""
    order = rng.permutation(len(split))
    for number in range(batches_an_epoch(len(split), batch_size)):
        chosen = order[number * batch_size : (number + 1) * batch_size]
        flips_2N = rng.random((2, len(chosen))) < 0.5
        yield Batch(
            torch.from_numpy(random_crops([split.images[int(index)] for index in chosen], crop_px, rng)),
            torch.from_numpy(split.labels_N[chosen]),
            torch.from_numpy(flips_2N[0]),
            torch.from_numpy(flips_2N[1] & vertical_flips),
        )


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each made by a thread while the one before is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
