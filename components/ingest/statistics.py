"""Figures over the pixels of a split, exact and therefore equal in any order: digest, mean and standard deviation."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from components.interchange.dataset import ChannelStatistics, StoredImage

LEVELS = np.arange(256)


class Tally:
    """Watches stored images on their way to the shards; its figures are right once all have passed."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._histogram_CL: NDArray[np.int64] = np.zeros((3, 256), np.int64)

    def watch(self, images: Iterable[StoredImage]) -> Iterator[StoredImage]:
        """Pass the images on, unchanged."""
        for image in images:
            height, width, _ = image.pixels_HWC.shape
            self._sha256.update(f"{image.id} {image.label} {height} {width}\n".encode())
            self._sha256.update(image.pixels_HWC.tobytes())
            for channel in range(3):
                self._histogram_CL[channel] += np.bincount(image.pixels_HWC[..., channel].ravel(), minlength=256)
            yield image

    def digest(self) -> str:
        """sha256 over ids, labels, sizes and pixels, in order."""
        return self._sha256.hexdigest()

    def channels(self) -> ChannelStatistics:
        """Per-channel mean and standard deviation over all pixels, RGB on [0, 1]. Needs at least one image."""
        total = int(self._histogram_CL[0].sum())
        sums = [int(channel @ LEVELS) for channel in self._histogram_CL]
        squares = [int(channel @ LEVELS**2) for channel in self._histogram_CL]
        variances = [(square * total - mean * mean) / total**2 for mean, square in zip(sums, squares, strict=True)]
        red, green, blue = (value / total / 255 for value in sums)
        red_std, green_std, blue_std = (variance**0.5 / 255 for variance in variances)
        return ChannelStatistics(mean=(red, green, blue), std=(red_std, green_std, blue_std))
