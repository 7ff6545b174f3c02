"""A perceptual hash: pictures that look alike have hashes that differ in few bits.

The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2,
with the median over all 64 coefficients, as the package ImageHash takes it. ImageHash would bring SciPy into ingest.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE, KEPT = 32, 8
MIDDLE = [KEPT * KEPT // 2 - 1, KEPT * KEPT // 2]
# Type II, not normalised: rows are frequencies, of which the hash looks at the 8 lowest.
DCT = np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(KEPT), 2 * np.arange(SIDE) + 1))
SMALLEST = 1e-6  # What rounding leaves of a coefficient that is zero.
NO_STRUCTURE = "0" * 16


class Look(NamedTuple):
    """How a picture looks, in two figures: 64 bits as 16 hex digits, and the mean luma on [0, 1]."""

    phash: str
    brightness: float


def perceptual_hash(image: Image.Image) -> str:
    """Of an RGB image, 16 hex digits. NO_STRUCTURE is the hash of a picture of one tone."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    low = (DCT @ np.asarray(small, np.float64) @ DCT.T).ravel()
    if np.abs(low[1:]).max() < SMALLEST:
        return NO_STRUCTURE
    below, above = np.partition(low, MIDDLE)[MIDDLE]  # np.median takes as long as all the rest.
    bits = low - (below + above) / 2 > SMALLEST
    return np.packbits(bits).tobytes().hex()
