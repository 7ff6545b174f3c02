"""What a model in torch answers for batches of images, on which device, and at the speed that it allows.

N images, H, W pixels, C classes.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.interchange.errors import BadInput, memory_ran_out
from components.interchange.memory import give_back_freed_memory
from components.interchange.pixels_to_logits import PixelsToLogits

log = logging.getLogger("graft")
IMAGES_IN_CACHE, PARTS_AHEAD = 8, 2


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA where it is; `cuda` without CUDA is BadInput, never a silent CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA device here. Use --device cpu, or run on a GPU machine.")
    return torch.device(name)


def forward(
    function: Callable[[Tensor], Tensor], batches: Iterable[NDArray[np.uint8]], device: torch.device
) -> list[Tensor]:
    """What `function` makes of uint8 batches [n, H, W, 3], in order, in inference mode.

    On the CPU in parts of 8 images, whose activations stay in the cache, and each part in one thread, as many at a time
    as torch has threads: threads that share a part wait for each other at every layer, and on busy cores for long.
    Where memory runs out, the images a forward pass are halved for good. BadInput when one image is too many.
    """
    inferred = _Halving(function, device)
    if device.type != "cpu":
        return [inferred(torch.from_numpy(batch_NHWC)) for batch_NHWC in batches]

    threads, found, ahead = torch.get_num_threads(), [], deque[Future[Tensor]]()
    pool = ThreadPoolExecutor(threads)
    torch.set_num_threads(1)
    try:
        for batch_NHWC in batches:
            for part_NHWC in torch.split(torch.from_numpy(batch_NHWC), IMAGES_IN_CACHE):
                ahead.append(pool.submit(inferred, part_NHWC))
            while len(ahead) > PARTS_AHEAD * threads:
                found.append(ahead.popleft().result())
        return found + [part.result() for part in ahead]
    finally:
        pool.shutdown(cancel_futures=True)  # Who ends a training waits for no part that has not begun.
        torch.set_num_threads(threads)


class _Halving:
    """`function` of a batch at once, or in as many parts as memory asks for."""

    def __init__(self, function: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self.function, self.device = function, device
        self.most: int | None = None

    def __call__(self, batch_NHWC: Tensor) -> Tensor:
        while True:
            size = min(len(batch_NHWC), self.most or len(batch_NHWC))
            try:
                with torch.inference_mode():
                    parts = [self.function(part.to(self.device)) for part in torch.split(batch_NHWC, max(size, 1))]
                    return torch.cat(parts)
            except RuntimeError as error:
                if not memory_ran_out(error):
                    raise
            self._halve(size)  # Out of the exception's reach, which holds what did not fit.

    def _halve(self, size: int) -> None:
        if size <= 1:
            raise BadInput("memory does not hold one image. Take a smaller --input-size-px or backbone.")
        if self.most is None or self.most >= size:  # No other thread was here first.
            self.most = (size + 1) // 2
            log.warning("out_of_memory batch=%d -> %d", size, self.most)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        give_back_freed_memory()


def predict_logits(
    model: PixelsToLogits, batches: Iterable[NDArray[np.uint8]], device: torch.device
) -> NDArray[np.float32]:
    """Logits [N, C] of uint8 batches [n, H, W, 3], in eval and inference mode, fp32."""
    model.eval().to(device).to(memory_format=torch.channels_last)
    return torch.cat(forward(model, batches, device)).float().cpu().numpy()
