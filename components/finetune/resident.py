"""The images of a split in the memory of a GPU, and windows cut there.

Legend: N images, H height, W width, C 3 channels.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.interchange.dataset import Split

log = logging.getLogger("graft")
SHARE_OF_FREE_MEMORY = 0.4
COPIED_AT_ONCE = 256


class ResidentImages:
    """All images of a split, uint8, end to end on a device."""

    def __init__(self, split: Split, device: torch.device) -> None:
        shapes_N2 = split.images.shapes_N2.astype(np.int64)
        sizes_N = shapes_N2.prod(axis=1) * 3
        self._pixels = torch.empty(int(sizes_N.sum()), dtype=torch.uint8, device=device)
        starts_N = np.concatenate([[0], np.cumsum(sizes_N)])
        for first in range(0, len(split), COPIED_AT_ONCE):
            images = split.images.many(range(first, min(first + COPIED_AT_ONCE, len(split))))
            for row, image in enumerate(images, first):
                self._pixels[starts_N[row] : starts_N[row + 1]] = torch.tensor(image).flatten()
        self._starts_N = torch.from_numpy(starts_N[:-1]).to(device)
        self._shapes_N2 = torch.from_numpy(shapes_N2).to(device)

    def windows(self, rows_N: NDArray[np.int64], size_px: int, places_N2: Tensor) -> Tensor:
        """One window of each image, the same that `augment.windows` cuts: uint8 [N, size_px, size_px, 3]."""
        device = self._pixels.device
        rows = torch.from_numpy(rows_N).to(device, non_blocking=True)
        shapes_N2 = self._shapes_N2[rows]
        corners_N2 = (places_N2.to(device, non_blocking=True) * (shapes_N2 - size_px + 1)).long()
        width_N, along = shapes_N2[:, 1], torch.arange(size_px, device=device)
        first_N = self._starts_N[rows] + 3 * (corners_N2[:, 0] * width_N + corners_N2[:, 1])
        lines_NH = first_N[:, None] + 3 * width_N[:, None] * along
        bytes_NHW = lines_NH[:, :, None] + torch.arange(3 * size_px, device=device)
        return self._pixels[bytes_NHW].view(len(rows_N), size_px, size_px, 3)


def resident_if_fitting(split: Split, device: torch.device) -> ResidentImages | None:
    """The split's images on a GPU that has room for them and for training; None elsewhere."""
    if device.type != "cuda":
        return None
    needed = 3 * int(split.images.shapes_N2.astype(np.int64).prod(axis=1).sum())
    free, _ = torch.cuda.mem_get_info(device)
    fits = needed <= SHARE_OF_FREE_MEMORY * free
    log.info("images_bytes=%d gpu_free_bytes=%d images_on_gpu=%s", needed, free, fits)
    return ResidentImages(split, device) if fits else None
