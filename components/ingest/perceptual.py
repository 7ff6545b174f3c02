"""A perceptual hash: pictures that look alike have hashes that differ in few bits.

The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2,
with the median over all 64 coefficients, as the package ImageHash takes it. ImageHash would bring SciPy into ingest.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE, KEPT = 32, 8
# Type II, not normalised: rows are frequencies, of which the hash looks at the 8 lowest.
DCT = np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(KEPT), 2 * np.arange(SIDE) + 1))
SMALLEST = 1e-6  # What rounding leaves of a coefficient that is zero.
NO_STRUCTURE = "0" * 16


class Look(NamedTuple):
    """How a picture looks, in two figures: 64 bits as 16 hex digits, and the mean luma on [0, 1]."""

    phash: str
    brightness: float


def look(image: Image.Image) -> Look:
    """Perceptual hash and brightness of an RGB image. NO_STRUCTURE is the hash of a picture of one tone."""
    luma = image.convert("L")
    counts = np.array(luma.histogram(), np.int64)
    brightness = int(counts @ np.arange(256)) / (int(counts.sum()) * 255)
    small = np.asarray(luma.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0), np.float64)
    low = (DCT @ small @ DCT.T).ravel()
    if np.abs(low[1:]).max() < SMALLEST:
        return Look(NO_STRUCTURE, brightness)
    bits = low - np.median(low) > SMALLEST
    return Look(np.packbits(bits).tobytes().hex(), brightness)
