"""Several processes that train one model, as `torchrun` starts them: the same global batch, shared out.

Each process takes its part of every batch, gradients are averaged by torch's DistributedDataParallel, val is scored in
parts, and the first process alone writes. One process is a world of its own, and nothing here costs it anything.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from components.interchange.errors import BadInput


@dataclass(frozen=True)
class World:
    """This process's place among `size`."""

    rank: int = 0
    size: int = 1

    def part(self, num_images: int) -> slice:
        """This process's images of a batch: whole pairs, as mixing needs them. BadInput when one would have none."""
        pairs = (num_images + 1) // 2
        if pairs < self.size:
            raise BadInput(
                f"a batch of {num_images} images cannot be shared by {self.size} processes, two images each."
            )
        ends = [2 * (pairs * rank // self.size) for rank in (self.rank, self.rank + 1)]
        return slice(ends[0], min(ends[1], num_images))

    def passes(self, num_images: int, most: int) -> int:
        """In how many passes, of at most `most` images, a batch is done: as many in every process, since BatchNorm
        meets the others in each. Of two at most, one has three where a single image is left. BadInput when a process
        would have none for a pass.
        """
        pairs = (num_images + 1) // 2
        largest, smallest = -(-pairs // self.size), pairs // self.size
        if min(2 * largest, num_images) <= most:
            return 1
        number = min(-(-largest // max(1, most // 2)), num_images // 2)
        if number > smallest:
            raise BadInput(
                f"{self.size} processes cannot take a batch of {num_images} images in equally many parts of {most}. "
                f"Make --batch-size a multiple of {2 * self.size}, or --device-batch-size larger."
            )
        return number

    def greatest(self, value: float) -> float:
        """The greatest of the processes' values, the same for all of them."""
        if self.size == 1:
            return value
        found = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return float(found)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of the processes' tensors, the same for all of them."""
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value

    def joined(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are averaged over the processes; what is trainable is settled by now."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module)

    def averaging(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        """For the passes of one batch: gradients are averaged with the last of them."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) and not last else nullcontext()

    def align(self, module: nn.Module) -> None:
        """Give every process the first one's buffers."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def interleaved(self, own_NC: NDArray[np.float32], num_images: int) -> NDArray[np.float32]:
        """All rows of a split, where each process has every `size`-th from its rank on."""
        if self.size == 1:
            return own_NC
        parts: list[NDArray[np.float32] | None] = [None] * self.size
        dist.all_gather_object(parts, own_NC)
        whole_NC = np.empty((num_images, own_NC.shape[1]), np.float32)
        for rank, part in enumerate(parts):
            whole_NC[rank :: self.size] = cast(NDArray[np.float32], part)
        return whole_NC


@contextmanager
def connected() -> Iterator[World]:
    """The processes that torchrun's environment speaks of, connected by gloo and, on GPUs, NCCL."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
