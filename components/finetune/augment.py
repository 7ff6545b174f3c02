"""Augmentation of whole batches on the device, every image with draws of its own.

What happens to a batch is drawn beforehand from the batch's own random numbers. Crops at stored scale are windows, cut
from the memory-mapped uint8 images as the batch is put together (one copy, which the batch needs anyway), and flips;
everything else geometric is one affine map an image (`warp.py`). torchvision's transforms.v2 draw once a batch, and an
image at a time took 1.82 s for a random resized crop and RandAugment of 32 images where this takes 0.24 s (2 cores).
Legend: N images, H height, W width, C 3 channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.finetune import colours, mixing, warp
from components.finetune.mirror import flip
from components.finetune.spec import Augment, Crop

OPERATIONS = 2


@dataclass(frozen=True)
class Augmentation:
    """What is drawn; `window_px` is the short side of the stored images. A strength or alpha of 0 does nothing."""

    crop_px: int
    window_px: int
    crop: Crop = "window"
    policy: Augment = "flips"
    strength: float = 0.5
    vertical_flips: bool = False
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    @property
    def warps(self) -> bool:
        """Whether images are resampled, and not only cut and mirrored."""
        return self.crop != "window" or self.policy != "flips"


class Draws(NamedTuple):
    """What happens to each image. `places_N2` is where its window lies, as fractions; None: nothing of that kind."""

    places_N2: Tensor
    horizontal_N: Tensor
    vertical_N: Tensor
    maps_N23: Tensor | None
    colours_NK: Tensor | None
    mixes_N5: Tensor | None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Draws":
        """The draws, each changed alike."""
        return Draws(*(drawn if drawn is None else change(drawn) for drawn in self))  # type: ignore[arg-type]


def draw(how: Augmentation, num_images: int, rng: np.random.Generator) -> Draws:
    """Draws for a batch, from `rng` alone."""
    places_N2 = torch.from_numpy(rng.random((num_images, 2)))
    flips_2N = rng.random((2, num_images)) < 0.5
    flips_2N[1] &= how.vertical_flips
    maps_N23 = colours_NK = mixes_N5 = None
    if how.warps:
        geometric_NK, colours_NK = _operations(how, num_images, rng)
        parts_N4 = warp.parts_of_window(how.crop == "resized", how.crop_px / how.window_px, num_images, rng)
        maps_N23 = torch.from_numpy(warp.maps(parts_N4, flips_2N, geometric_NK))
    if how.mixup_alpha or how.cutmix_alpha:
        mixes_N5 = torch.from_numpy(mixing.draw(how.mixup_alpha, how.cutmix_alpha, num_images, rng))
    horizontal_N, vertical_N = torch.from_numpy(flips_2N)
    return Draws(places_N2, horizontal_N, vertical_N, maps_N23, colours_NK, mixes_N5)


def _operations(
    how: Augmentation, num_images: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], Tensor | None]:
    """Magnitudes in [-1, 1] of the geometric and of the colour operations; 0 where an operation is not drawn.

    `geometric` draws all of warp's, `randaugment` two of both kinds an image (Cubuk et al. 2019, arXiv:1909.13719),
    with magnitudes that are even and not fixed.
    """
    num_all = len(warp.OPERATIONS) + len(colours.OPERATIONS)
    magnitudes_NK = how.strength * rng.uniform(-1, 1, (num_images, num_all))
    if how.policy == "randaugment":
        rank_NK = np.argsort(np.argsort(rng.random((num_images, num_all)), axis=1), axis=1)
        magnitudes_NK *= rank_NK < OPERATIONS
        return magnitudes_NK[:, : len(warp.OPERATIONS)], torch.from_numpy(
            magnitudes_NK[:, len(warp.OPERATIONS) :].astype(np.float32)
        )
    return magnitudes_NK[:, : len(warp.OPERATIONS)] * (how.policy == "geometric"), None


def windows(images: Sequence[NDArray[np.uint8]], size_px: int, places_N2: Tensor) -> NDArray[np.uint8]:
    """One window of `size_px` from each image [H, W, 3]: uint8 [N, size_px, size_px, 3].

    Places are fractions in [0, 1) of the way down and across that a window can take.
    """
    windows_NHWC = np.empty((len(images), size_px, size_px, 3), np.uint8)
    for row, (image_HWC, (down, across)) in enumerate(zip(images, places_N2.tolist(), strict=True)):
        top, left = int(down * (image_HWC.shape[0] - size_px + 1)), int(across * (image_HWC.shape[1] - size_px + 1))
        windows_NHWC[row] = image_HWC[top : top + size_px, left : left + size_px]
    return windows_NHWC


def augmented(pixels_NHWC: Tensor, draws: Draws, crop_px: int) -> Tensor:
    """The batch after its draws, on whatever device it lies: [N, crop_px, crop_px, 3], uint8 where only mirrored."""
    if draws.maps_N23 is None:
        pixels_NHWC = flip(pixels_NHWC, draws.horizontal_N, draws.vertical_N)
    else:
        pixels_NHWC = warp.warped(pixels_NHWC, draws.maps_N23, crop_px)
    if draws.colours_NK is not None:
        pixels_NHWC = colours.recoloured(pixels_NHWC, draws.colours_NK)
    if draws.mixes_N5 is not None:
        pixels_NHWC = mixing.mixed(pixels_NHWC, draws.mixes_N5)
    return pixels_NHWC
