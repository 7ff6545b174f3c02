"""Test images that the champion was trained on, or on a near-duplicate of: its score on them is no evidence.

The champion's lineage names its training images (id = sha256 of the source bytes) and their 64-bit perceptual hashes.
Legend: N test images, M training images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange import lineage

PAIRS_PER_CHUNK = 2**24
NO_STRUCTURE = 0  # The hash of every picture of one tone: it says nothing of which.


class Leaks(NamedTuple):
    """`leaked_N`: the test images that the champion knows; `exact`, `near` count them; `how` says what was compared.

    `compared` is False where its lineage does not tell what it was trained on.
    """

    leaked_N: NDArray[np.bool_]
    exact: int
    near: int
    how: str
    compared: bool = True


def find(champion: Path, ids: Sequence[str], hashes: Sequence[str], max_bits: int) -> Leaks:
    """Test images by id and perceptual hash (16 hex digits) that are in the training set of the champion's folder.

    Hashes that differ in at most `max_bits` of their 64 bits count as near-duplicates.
    """
    if not (champion / lineage.FOLDER / lineage.IMAGES_FILE).is_file():
        how = "not compared: the champion's lineage names no training images with perceptual hashes"
        return Leaks(np.zeros(len(ids), bool), 0, 0, how, compared=False)
    trained = [image for image in lineage.read_images(champion) if image.split == "train"]
    known = {image.id for image in trained}
    exact_N = np.array([source_id in known for source_id in ids], bool)
    near_N = near(hashes, [image.phash for image in trained], max_bits) & ~exact_N
    how = (
        f"test images against the champion's {len(trained):,} training images, by content and by perceptual hash "
        f"(at most {max_bits} of 64 bits apart)"
    )
    return Leaks(exact_N | near_N, int(exact_N.sum()), int(near_N.sum()), how)


def near(hashes: Sequence[str], theirs: Sequence[str], max_bits: int) -> NDArray[np.bool_]:
    """Whether each hash is at most `max_bits` apart from one of `theirs`, [N]."""
    ours_N, theirs_M = (np.array([int(value, 16) for value in values], np.uint64) for values in (hashes, theirs))
    theirs_M = np.unique(theirs_M[theirs_M != NO_STRUCTURE])
    near_N = np.zeros(len(ours_N), bool)
    step = max(1, PAIRS_PER_CHUNK // max(1, len(theirs_M)))
    for start in range(0, len(ours_N), step):
        chunk_N = slice(start, start + step)
        apart_NM = np.bitwise_count(ours_N[chunk_N, None] ^ theirs_M)
        near_N[chunk_N] = (apart_NM <= max_bits).any(axis=1)
    return np.asarray(near_N & (ours_N != NO_STRUCTURE))
