"""Which images make up a batch, and the random numbers that are its own: functions of seed, epoch and batch alone.

So the place of a training is two integers. A restart, a thread that works ahead and another process draw the same.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Purpose = Literal["order", "batch", "model"]
PURPOSES: tuple[Purpose, ...] = ("order", "batch", "model")


def generator(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """Random numbers that belong to a purpose and a place, as epoch and batch; independent of all others."""
    key = np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), *place))
    return np.random.Generator(np.random.Philox(key))


def batches_an_epoch(num_images: int, batch_size: int) -> int:
    """Full batches in one pass; a split smaller than a batch makes one.

    The rest is left out, another one every epoch: BatchNorm's statistics of two or three images are worth little.
    """
    return max(1, num_images // batch_size)


def epoch_order(num_images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Every image once, in an order of this epoch's own."""
    return generator(seed, "order", epoch).permutation(num_images)


def balanced_order(labels_N: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """As many images as there are, every class as often as the others, to within one.

    Small classes come round several times, each image equally often to within one; large ones leave some out.
    """
    rng = generator(seed, "order", epoch)
    members = [rng.permutation(np.flatnonzero(labels_N == label)) for label in np.unique(labels_N)]
    quotas = [len(part) for part in np.array_split(np.arange(len(labels_N)), len(members))]
    drawn = [np.resize(own, quota) for own, quota in zip(members, quotas, strict=True)]
    return rng.permutation(np.concatenate(drawn))


def model_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Seed of torch's generators for one step: what dropout and stochastic depth draw."""
    return int(generator(seed, "model", epoch, batch, rank).integers(2**62))
