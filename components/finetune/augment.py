"""Augmentation of whole batches: a random crop of every stored image, then random flips on the device.

What happens to a batch is drawn beforehand, from the batch's own random numbers; crops are cut from the memory-mapped
uint8 images as the batch is put together: it is one copy, which the batch needs anyway.
Legend: N images, H height, W width, C 3 channels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def windows(images: Sequence[NDArray[np.uint8]], crop_px: int, places_N2: NDArray[np.float64]) -> NDArray[np.uint8]:
    """One window of `crop_px` from each image [H, W, 3]: uint8 [N, crop_px, crop_px, 3].

    Places are fractions in [0, 1) of the way down and across that a window can take.
    """
    windows_NHWC = np.empty((len(images), crop_px, crop_px, 3), np.uint8)
    for row, image_HWC in enumerate(images):
        top = int(places_N2[row, 0] * (image_HWC.shape[0] - crop_px + 1))
        left = int(places_N2[row, 1] * (image_HWC.shape[1] - crop_px + 1))
        windows_NHWC[row] = image_HWC[top : top + crop_px, left : left + crop_px]
    return windows_NHWC


def flip(pixels_NHWC: Tensor, horizontal_N: Tensor, vertical_N: Tensor) -> Tensor:
    """Mirror the images whose flag is set, left to right and top to bottom; any device, any number type."""
    mirrored_NHWC = torch.where(horizontal_N.view(-1, 1, 1, 1), pixels_NHWC.flip(2), pixels_NHWC)
    return torch.where(vertical_N.view(-1, 1, 1, 1), mirrored_NHWC.flip(1), mirrored_NHWC)
