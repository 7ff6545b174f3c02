"""What a model in torch answers for batches of images, at the speed that its device allows.

N images, H, W pixels, C classes.
"""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.interchange.classifier import PixelsToLogits

IMAGES_IN_CACHE, PARTS_AHEAD = 8, 2


def forward(
    function: Callable[[Tensor], Tensor], batches: Iterable[NDArray[np.uint8]], device: torch.device
) -> list[Tensor]:
    """What `function` makes of uint8 batches [n, H, W, 3], in order, in inference mode.

    On the CPU in parts of 8 images, whose activations stay in the cache, and each part in one thread, as many at a time
    as torch has threads: threads that share a part wait for each other at every layer, and on busy cores for long.
    """
    if device.type != "cpu":
        with torch.inference_mode():
            return [function(torch.from_numpy(batch_NHWC).to(device)) for batch_NHWC in batches]

    def inferred(part_NHWC: Tensor) -> Tensor:
        with torch.inference_mode():
            return function(part_NHWC)

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


def predict_logits(
    model: PixelsToLogits, batches: Iterable[NDArray[np.uint8]], device: torch.device
) -> NDArray[np.float32]:
    """Logits [N, C] of uint8 batches [n, H, W, 3], in eval and inference mode, fp32."""
    model.eval().to(device).to(memory_format=torch.channels_last)
    return torch.cat(forward(model, batches, device)).float().cpu().numpy()
