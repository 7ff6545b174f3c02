"""Training batches: drawn without replacement, cropped, and put together while the previous one trains.

Legend: N images of a batch, H height, W width, C 3 channels.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.finetune.augment import windows
from components.finetune.sampling import batches_an_epoch, epoch_order, generator
from components.interchange.dataset import Split


class Batch(NamedTuple):
    """uint8 `pixels_NHWC`, int64 `labels_N`, which images to mirror, and their rows in the split."""

    pixels_NHWC: Tensor
    labels_N: Tensor
    horizontal_N: Tensor
    vertical_N: Tensor
    rows_N: NDArray[np.int64]


def epoch_batches(
    split: Split, batch_size: int, crop_px: int, vertical_flips: bool, seed: int, epoch: int, first: int = 0
) -> Iterator[Batch]:
    """The batches of an epoch from number `first` on; order, crops and flips belong to seed, epoch and number."""
    order = epoch_order(len(split), seed, epoch)
    for number in range(first, batches_an_epoch(len(split), batch_size)):
        rows_N = order[number * batch_size : (number + 1) * batch_size]
        rng = generator(seed, "batch", epoch, number)
        places_N2, flips_2N = rng.random((len(rows_N), 2)), rng.random((2, len(rows_N))) < 0.5
        yield Batch(
            torch.from_numpy(windows([split.images[int(row)] for row in rows_N], crop_px, places_N2)),
            torch.from_numpy(split.labels_N[rows_N]),
            torch.from_numpy(flips_2N[0]),
            torch.from_numpy(flips_2N[1] & vertical_flips),
            rows_N,
        )


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each made by a thread while the one before is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
