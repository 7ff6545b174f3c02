"""The images that an export is judged on. N images, H height, W width."""

from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange.dataset import Dataset, Split
from components.interchange.errors import BadInput
from components.interchange.scoring import Labels


class Images(NamedTuple):
    """Centre crops uint8 [N, H, W, 3] with ids and labels [N]."""

    ids: list[str]
    labels_N: Labels
    pixels_NHWC: NDArray[np.uint8]


def first_by_id(split: Split, num_samples: int, crop_px: int) -> Images:
    """The first images of a split by id; ids are digests, so this draws evenly, always the same. BadInput on none."""
    if not len(split):
        raise BadInput(f"the dataset's {split.name} split is empty: there is nothing to judge an export on.")
    chosen = sorted(range(len(split)), key=lambda index: split.ids[index])[:num_samples]
    return Images([split.ids[index] for index in chosen], split.labels_N[chosen], split.center_crops(chosen, crop_px))


def for_parity(dataset: Dataset, num_samples: int, crop_px: int) -> Images:
    """The first by id of test, then of val and train where test has fewer: that files agree needs no unseen images.

    BadInput where test is empty.
    """
    parts = [first_by_id(dataset.split("test"), num_samples, crop_px)]
    for name in ("val", "train"):
        split, missing = dataset.split(name), num_samples - sum(len(part.ids) for part in parts)
        if missing and len(split):
            parts.append(first_by_id(split, missing, crop_px))
    ids, labels, pixels = zip(*parts, strict=True)
    return Images(list(chain(*ids)), np.concatenate(labels), np.concatenate(pixels))
