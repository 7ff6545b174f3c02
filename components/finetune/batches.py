"""Training batches: drawn, cut, and put together while the previous one trains.

Legend: N images of a batch, H height, W width, C 3 channels.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.finetune.augment import Augmentation, Draws, draw, windows
from components.finetune.sampling import batches_an_epoch, generator
from components.interchange.dataset import Split


@dataclass(frozen=True)
class Batch:
    """uint8 `pixels_NHWC`, int64 `labels_N`, what is to be done to each image, and its row in the split."""

    pixels_NHWC: Tensor
    labels_N: Tensor
    draws: Draws
    rows_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows_N)

    def part(self, rows: slice) -> "Batch":
        """Some images of the batch."""
        draws = self.draws.each(lambda drawn: drawn[rows])
        return Batch(self.pixels_NHWC[rows], self.labels_N[rows], draws, self.rows_N[rows])

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; a copy from pinned memory does not wait."""
        pixels_NHWC, labels_N = (part.to(device, non_blocking=True) for part in (self.pixels_NHWC, self.labels_N))
        return Batch(
            pixels_NHWC, labels_N, self.draws.each(lambda drawn: drawn.to(device, non_blocking=True)), self.rows_N
        )


def epoch_batches(
    split: Split, order: NDArray[np.int64], batch_size: int, how: Augmentation, seed: int, epoch: int, first: int = 0
) -> Iterator[Batch]:
    """The batches of an epoch, its images in `order`, from number `first` on.

    What is drawn for a batch belongs to seed, epoch and number.
    """
    for number in range(first, batches_an_epoch(len(order), batch_size)):
        rows_N = order[number * batch_size : (number + 1) * batch_size]
        draws = draw(how, len(rows_N), generator(seed, "batch", epoch, number))
        size_px = how.window_px if how.warps else how.crop_px
        cut_NHWC = windows([split.images[int(row)] for row in rows_N], size_px, draws.places_N2)
        yield Batch(torch.from_numpy(cut_NHWC), torch.from_numpy(split.labels_N[rows_N]), draws, rows_N)


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each made by a thread while the one before is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
