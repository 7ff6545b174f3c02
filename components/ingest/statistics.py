"""Figures over the pixels of a split, exact and therefore equal in any order: digest, mean and standard deviation."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from components.interchange.dataset import ChannelStatistics

LEVELS = np.arange(256)
POWERS = np.stack([LEVELS, LEVELS**2], axis=1)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's.
SIX = struct.Struct("<6q")


class PixelSums(NamedTuple):
    """Of one image's uint8 pixels: how many, and by channel (RGB) their sum and the sum of their squares.

    The sums are held as bytes of six int64: as Python's integers those of a million images would be 250 MB more.
    """

    num_pixels: int
    packed: bytes

    @classmethod
    def of(cls, num_pixels: int, sums_C: Sequence[int], squares_C: Sequence[int]) -> "PixelSums":
        """From three sums and three sums of squares."""
        return cls(num_pixels, SIX.pack(*sums_C, *squares_C))

    def by_channel(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Three sums and three sums of squares."""
        six = SIX.unpack(self.packed)
        return six[:3], six[3:]

    def brightness(self) -> float:
        """The mean luma, on [0, 1]."""
        sums_C, _ = self.by_channel()
        return sum(weight * each for weight, each in zip(LUMA, sums_C, strict=True)) / (self.num_pixels * 255)


def pixel_sums(image: Image.Image) -> PixelSums:
    """The sums of an RGB image, from its histogram."""
    histogram_CL = np.fromiter(image.histogram(), np.int64, 3 * 256).reshape(3, 256)
    return PixelSums.of(image.width * image.height, *(histogram_CL @ POWERS).T.tolist())


def channel_statistics(images: Iterable[PixelSums]) -> ChannelStatistics:
    """Per-channel mean and standard deviation over all pixels, RGB on [0, 1]. Needs at least one image."""
    counts, sums_NC, squares_NC = zip(*((one.num_pixels, *one.by_channel()) for one in images), strict=True)
    total = sum(counts)
    sums = [sum(channel) for channel in zip(*sums_NC, strict=True)]
    squares = [sum(channel) for channel in zip(*squares_NC, strict=True)]
    variances = [(square * total - each * each) / total**2 for square, each in zip(squares, sums, strict=True)]
    red, green, blue = (each / total / 255 for each in sums)
    red_std, green_std, blue_std = (variance**0.5 / 255 for variance in variances)
    return ChannelStatistics(mean=(red, green, blue), std=(red_std, green_std, blue_std))


def split_digest(images: Iterable[tuple[str, int, int, int, str]]) -> str:
    """sha256 over id, label, stored height and width and the pixels' sha256 of a split's images, in order."""
    lines = hashlib.sha256()
    for image_id, label, height_px, width_px, pixels_sha256 in images:
        lines.update(f"{image_id} {label} {height_px} {width_px} {pixels_sha256}\n".encode())
    return lines.hexdigest()
