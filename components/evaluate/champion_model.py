"""The champion on the same images as its challengers, through its own ONNX file.

Legend: N images, H height, W width, C classes, S classes that both sides know.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.evaluate.predictions import finite
from components.interchange.dataset import Manifest, Split
from components.interchange.onnx_model import logits_of
from components.interchange.pixels import center_crop, resize_short, to_array
from components.interchange.preprocessing import Preprocessing
from components.interchange.progress import progress
from components.interchange.scoring import Labels, Logits


class SharedClasses(NamedTuple):
    """Classes of both sides in the dataset's order, those only the dataset has, those only the champion had."""

    shared: list[str]
    added: list[str]
    removed: list[str]


class Shared(NamedTuple):
    """What is left of one side on the shared classes: logits [n, S], labels [n] on S."""

    logits_NS: Logits
    labels_N: Labels


def compare_classes(classes: Sequence[str], champion_classes: Sequence[str]) -> SharedClasses:
    """Split two class lists into shared, added and removed; another order alone changes nothing."""
    ours, theirs = set(classes), set(champion_classes)
    return SharedClasses(
        [name for name in classes if name in theirs],
        [name for name in classes if name not in theirs],
        [name for name in champion_classes if name not in ours],
    )


def on_shared(logits_NC: Logits, logit_classes: Sequence[str], labels: Sequence[str], shared: Sequence[str]) -> Shared:
    """Keep the images whose label is shared and the logits of the shared classes, in the order of `shared`."""
    column_of, place_of = ({name: place for place, name in enumerate(names)} for names in (logit_classes, shared))
    kept = [row for row, label in enumerate(labels) if label in place_of]
    columns = [column_of[name] for name in shared]
    labels_N = np.array([place_of[labels[row]] for row in kept], np.int64)
    return Shared(logits_NC[kept][:, columns], labels_N)


def how_prepared(preprocessing: Preprocessing, manifest: Manifest) -> str:
    """In words how stored images become the champion's input; exact only when the stored size is its own."""
    wanted_px, stored_px = preprocessing.resize_short_px, manifest.stored_size_px
    crop = f"centre crop of {preprocessing.crop_px} px"
    if (wanted_px, preprocessing.interpolation) == (stored_px, manifest.interpolation):
        return f"{crop} from the stored images, exactly as the champion asks"
    if wanted_px == stored_px:
        return f"{crop}; stored with {manifest.interpolation}, the champion asks for {preprocessing.interpolation}"
    return (
        f"stored images resized again from {stored_px} to {wanted_px} px on the short side "
        f"({preprocessing.interpolation}), then a {crop}: not exactly what the champion gets in production"
    )


def prepared_batches(
    split: Split, preprocessing: Preprocessing, stored_size_px: int, batch_size: int
) -> Iterator[NDArray[np.uint8]]:
    """uint8 batches [n, crop_px, crop_px, 3] as `how_prepared` says."""
    for start in range(0, len(split), batch_size):
        indices = range(start, min(start + batch_size, len(split)))
        if preprocessing.resize_short_px == stored_size_px:
            yield split.center_crops(indices, preprocessing.crop_px)
        else:
            yield np.stack([_resized_crop(image, preprocessing) for image in split.images.many(indices)])


def _resized_crop(image_HWC: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    resized = resize_short(Image.fromarray(image_HWC), preprocessing.resize_short_px, preprocessing.interpolation)
    return center_crop(to_array(resized), preprocessing.crop_px)


def champion_logits(
    session: Any, split: Split, preprocessing: Preprocessing, stored_size_px: int, batch_size: int
) -> NDArray[np.float32]:
    """Logits [N, C] of the champion on one split, in the champion's own class order."""
    batches = prepared_batches(split, preprocessing, stored_size_px, batch_size)
    total = -(-len(split) // batch_size)
    bar = progress(batches, f"champion on {split.name}", total=total, unit=" batches")
    return finite(np.concatenate([logits_of(session, batch_NHWC) for batch_NHWC in bar]), split, "champion")
