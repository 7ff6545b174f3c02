"""Training batches: drawn, cut, and put together while the previous one trains.

Legend: N images of a batch, H height, W width, C 3 channels.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.finetune.augment import Augmentation, Draws, draw, windows
from components.finetune.distributed import World
from components.finetune.resident import ResidentImages
from components.finetune.sampling import batches_an_epoch, generator
from components.interchange.dataset import Split


@dataclass(frozen=True)
class Batch:
    """uint8 `pixels_NHWC`, int64 `labels_N`, what is to be done to each image, and its row in the split.

    `of` is the number of images in the whole batch, of which this is all or a part.
    """

    pixels_NHWC: Tensor
    labels_N: Tensor
    draws: Draws
    rows_N: NDArray[np.int64]
    of: int

    def __len__(self) -> int:
        return len(self.rows_N)

    def part(self, rows: slice) -> "Batch":
        """Some images of the batch."""
        draws = self.draws.each(lambda drawn: drawn[rows])
        return Batch(self.pixels_NHWC[rows], self.labels_N[rows], draws, self.rows_N[rows], self.of)

    def parts(self, number: int) -> "list[Batch]":
        """The batch in parts that differ by two images at most: whole pairs, as mixing needs them."""
        pairs = (len(self) + 1) // 2
        ends = [2 * (pairs * done // number) for done in range(number + 1)]
        return [self.part(slice(*rows)) for rows in pairwise(ends)]

    def pinned(self) -> "Batch":
        """The batch in memory that a GPU can fetch from while it computes."""
        pixels_NHWC = self.pixels_NHWC if self.pixels_NHWC.is_cuda else self.pixels_NHWC.pin_memory()
        return Batch(pixels_NHWC, self.labels_N.pin_memory(), self.draws.each(Tensor.pin_memory), self.rows_N, self.of)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; a copy from pinned memory does not wait."""
        pixels_NHWC, labels_N = (part.to(device, non_blocking=True) for part in (self.pixels_NHWC, self.labels_N))
        draws = self.draws.each(lambda drawn: drawn.to(device, non_blocking=True))
        return Batch(pixels_NHWC, labels_N, draws, self.rows_N, self.of)


def epoch_batches(
    split: Split,
    order: NDArray[np.int64],
    batch_size: int,
    how: Augmentation,
    seed: int,
    epoch: int,
    first: int = 0,
    world: World = World(),  # noqa: B008
    resident: ResidentImages | None = None,
) -> Iterator[Batch]:
    """This process's part of the batches of an epoch, its images in `order`, from number `first` on.

    What is drawn for a batch belongs to seed, epoch and number, and is drawn for the batch as a whole.
    """
    for number in range(first, batches_an_epoch(len(order), batch_size)):
        rows_N = order[number * batch_size : (number + 1) * batch_size]
        drawn = draw(how, len(rows_N), generator(seed, "batch", epoch, number))
        part = world.part(len(rows_N))
        of, rows_N, draws = len(rows_N), rows_N[part], drawn.each(lambda each, part=part: each[part])  # type: ignore[misc]
        size_px = how.window_px if how.warps else how.crop_px
        if resident is None:
            images = split.images.many(rows_N)
            pixels_NHWC = torch.from_numpy(windows(images, size_px, draws.places_N2))
        else:
            pixels_NHWC = resident.windows(rows_N, size_px, draws.places_N2)
        yield Batch(pixels_NHWC, torch.from_numpy(split.labels_N[rows_N]), draws, rows_N, of)


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each made by a thread while the one before is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch
