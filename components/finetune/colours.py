"""Changes of colour to whole batches, each image by its own magnitudes; 0 changes nothing.

Legend: N images, H height, W width, C 3 channels, K operations.
"""

from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

Operation = Literal["brightness", "contrast", "saturation", "posterise", "solarise"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
RANGE = 0.9  # RandAugment's enhancements: factors from 0.1 to 1.9.


def recoloured(pixels_NHWC: Tensor, magnitudes_NK: Tensor) -> Tensor:
    """Float pixels in [0, 255] after the operations, in their order, by magnitudes in [-1, 1].

    Brightness, contrast and saturation blend with black, the mean luma and grey; posterise keeps 8 to 4 bits and
    solarise inverts from 255 down to 0, both by the absolute magnitude.
    """
    pixels_NHWC = pixels_NHWC.float()
    brightness, contrast, saturation, posterise, solarise = magnitudes_NK.view(len(magnitudes_NK), -1, 1, 1, 1).unbind(
        1
    )
    pixels_NHWC = (pixels_NHWC * (1 + RANGE * brightness)).clamp(0, 255)
    mean_N = _luma(pixels_NHWC).mean(dim=(1, 2, 3), keepdim=True)
    pixels_NHWC = torch.lerp(mean_N, pixels_NHWC, 1 + RANGE * contrast).clamp(0, 255)
    pixels_NHWC = torch.lerp(_luma(pixels_NHWC), pixels_NHWC, 1 + RANGE * saturation).clamp(0, 255)
    step = 2 ** (4 * posterise.abs()).round()
    pixels_NHWC = torch.where(posterise == 0, pixels_NHWC, (pixels_NHWC / step).floor() * step)
    inverted = pixels_NHWC >= 255 * (1 - solarise.abs())
    return torch.where((solarise != 0) & inverted, 255 - pixels_NHWC, pixels_NHWC)


def _luma(pixels_NHWC: Tensor) -> Tensor:
    return (pixels_NHWC * _weights(pixels_NHWC.device)).sum(3, keepdim=True)


@cache
def _weights(device: torch.device) -> Tensor:
    """Made once a device: to bring them to a GPU waits for all that it has to do."""
    return torch.tensor(LUMA, device=device)
