"""Shards of a split as tests want them: cut where they say, and not by ids as ingest cuts."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.interchange.stored_images import Encoding, StoredImage, jpeg_of, shard_name, write_shard


def stored_image(id: str, label: int, pixels_HWC: NDArray[np.uint8], encoding: Encoding = "raw") -> StoredImage:
    """An image from its pixels."""
    data = pixels_HWC.tobytes() if encoding == "raw" else jpeg_of(Image.fromarray(pixels_HWC))
    height_px, width_px, _ = pixels_HWC.shape
    return StoredImage(id, label, height_px, width_px, data)


def write_shards(
    folder: Path, split: str, images: Iterable[StoredImage], encoding: Encoding, images_per_shard: int = 10_000
) -> list[str]:
    """Write the images of one split, and return the shards' file names."""
    all_of_them = list(images)
    starts = range(0, len(all_of_them), images_per_shard)
    names = [shard_name(split, number) for number in range(len(starts))]
    for name, start in zip(names, starts, strict=True):
        write_shard(folder / name, all_of_them[start : start + images_per_shard], encoding)
    return names
