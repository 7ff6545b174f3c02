"""Mixup (Zhang et al. 2017, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899) of whole batches.

Images are mixed in neighbouring pairs, the first with the second, the third with the fourth: their order is random
anyway, and any even part of a batch can be mixed by itself, as accumulation and several processes need it.
Legend: N images, H height, W width, C 3 channels.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHARE, TOP, BOTTOM, LEFT, RIGHT = range(5)


def draw(mixup_alpha: float, cutmix_alpha: float, num_images: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """float32 [N, 5]: the share that each image and its label keep, and the box (fractions of the sides: top, bottom,
    left, right) that comes from its neighbour; without a box all of the image is blended.

    An alpha is that of the Beta distribution of the share, 0 leaves the method out; with both, each pair has one.
    """
    num_pairs = (num_images + 1) // 2
    use_cutmix_P = rng.random(num_pairs) < (0.5 if mixup_alpha and cutmix_alpha else float(cutmix_alpha > 0))
    share_P = np.where(
        use_cutmix_P,
        rng.beta(cutmix_alpha or 1.0, cutmix_alpha or 1.0, num_pairs),
        rng.beta(mixup_alpha or 1.0, mixup_alpha or 1.0, num_pairs),
    )
    centres_P2, half_P = rng.random((num_pairs, 2)), np.sqrt(1 - share_P) / 2
    low_P2, high_P2 = (np.clip(centres_P2 + sign * half_P[:, None], 0, 1) for sign in (-1, 1))
    boxes_P4 = np.stack([low_P2[:, 0], high_P2[:, 0], low_P2[:, 1], high_P2[:, 1]], axis=1)
    area_P = np.prod(high_P2 - low_P2, axis=1)
    mixes_P5 = np.concatenate(
        [
            np.where(use_cutmix_P, 1 - area_P, share_P)[:, None],
            np.where(use_cutmix_P[:, None], boxes_P4, 0.0),
        ],
        axis=1,
    )
    mixes_N5 = np.repeat(mixes_P5, 2, axis=0)[:num_images].astype(np.float32)
    if num_images % 2:
        mixes_N5[-1] = (1, 0, 0, 0, 0)  # It has no neighbour.
    return mixes_N5


def partners(num_images: int, device: torch.device) -> Tensor:
    """Row of each image's neighbour; the last of an odd number is its own."""
    return (torch.arange(num_images, device=device) ^ 1).clamp(max=num_images - 1)


def mixed(pixels_NHWC: Tensor, mixes_N5: Tensor) -> Tensor:
    """Float pixels, blended with their neighbour's or with a box of them."""
    pixels_NHWC = pixels_NHWC.float()
    others_NHWC = pixels_NHWC[partners(len(pixels_NHWC), pixels_NHWC.device)]
    has_box_N = mixes_N5[:, BOTTOM] > mixes_N5[:, TOP]
    share_N = torch.where(has_box_N, torch.ones_like(mixes_N5[:, SHARE]), mixes_N5[:, SHARE])
    blended_NHWC = torch.lerp(others_NHWC, pixels_NHWC, share_N.view(-1, 1, 1, 1))
    return torch.where(_inside(mixes_N5, *pixels_NHWC.shape[1:3]), others_NHWC, blended_NHWC)


def _inside(mixes_N5: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in the box: bool [N, H, W, 1]."""

    def between(length: int, low: Tensor, high: Tensor) -> Tensor:
        middles = (torch.arange(length, device=mixes_N5.device) + 0.5) / length
        return (middles >= low[:, None]) & (middles < high[:, None])

    rows_NH = between(height, mixes_N5[:, TOP], mixes_N5[:, BOTTOM])
    columns_NW = between(width, mixes_N5[:, LEFT], mixes_N5[:, RIGHT])
    return (rows_NH[:, :, None] & columns_NW[:, None, :]).unsqueeze(3)
