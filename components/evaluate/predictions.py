"""Logits of a classifier on the splits that evaluate looks at, each image computed once.

Legend: N images, H height, W width, C classes.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from components.interchange.cards import ClassifierCard
from components.interchange.dataset import Dataset, Split, SplitName
from components.interchange.errors import BadInput, listed
from components.interchange.inference import predict_logits
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.progress import progress

LOOKED_AT: tuple[SplitName, ...] = ("val", "test")


def open_splits(dataset: Dataset) -> dict[SplitName, Split]:
    """The val and test splits; BadInput when one has no images."""
    splits = {name: dataset.split(name) for name in LOOKED_AT}
    empty = [name for name, split in splits.items() if not len(split)]
    if empty:
        raise BadInput(f"the dataset has no images in {' and '.join(empty)}. Run ingest with more images.")
    return splits


def check_stored_size(card: ClassifierCard, dataset: Dataset, of: str) -> None:
    """BadInput when the dataset's images are not stored as the classifier was trained to see them."""
    wanted, manifest = card.preprocessing, dataset.manifest
    asked, stored = (wanted.resize_short_px, wanted.interpolation), (manifest.stored_size_px, manifest.interpolation)
    if asked != stored:
        raise BadInput(
            f"the {of} was trained on images of {asked[0]} px ({asked[1]}), the dataset stores {stored[0]} px "
            f"({stored[1]}). Run ingest with --stored-size-px {asked[0]} --interpolation {asked[1]}."
        )


def crops(split: Split, crop_px: int, batch_size: int, of: str) -> Iterator[NDArray[np.uint8]]:
    """uint8 batches [n, crop_px, crop_px, 3] of one split, with a bar."""
    starts = range(0, len(split), batch_size)
    for start in progress(starts, f"{of} on {split.name}", total=len(starts), unit=" batches"):
        yield split.center_crops(range(start, min(start + batch_size, len(split))), crop_px)


def classifier_logits(
    model: torch.nn.Module, card: ClassifierCard, split: Split, batch_size: int, device: torch.device, of: str
) -> NDArray[np.float32]:
    """Logits [N, C] of one classifier on one split."""
    batches = crops(split, card.preprocessing.crop_px, batch_size, of)
    return finite(predict_logits(PixelsToLogits(model, card.preprocessing), batches, device), split, of)


def finite(logits_NC: NDArray[np.float32], split: Split, of: str) -> NDArray[np.float32]:
    """The logits as they are; BadInput where some are no numbers: no score could be given, and none would be right."""
    broken_N = ~np.isfinite(logits_NC).all(axis=1)
    if broken_N.any():
        ids = [split.ids[row] for row in np.flatnonzero(broken_N)]
        raise BadInput(
            f"the {of} answers {len(ids):,} of {len(split):,} {split.name} images with logits that are not finite "
            f"(NaN or infinite): {listed(ids)}. Its weights are damaged, or its training diverged; train it again."
        )
    return logits_NC
