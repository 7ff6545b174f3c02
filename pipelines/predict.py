"""Classes with probabilities for images, from the onnx_model artifact alone: onnxruntime, numpy and Pillow.

The images go through the same preprocessing as the training images did. Several batches are worked on at a time, each
from decoding to its answers in one thread: threads that share a batch wait for each other, and more threads than cores
take them from the model. Files are read ahead. N images, C classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange.cards import OnnxCard
from components.interchange.cores import num_cores
from components.interchange.errors import BadInput
from components.interchange.image_files import BrokenImage
from components.interchange.memory_budget import bytes_to_read_ahead
from components.interchange.onnx_model import logits_of, open_model
from components.interchange.pixels import preprocess
from components.interchange.providers import own_options
from components.interchange.read_ahead import in_order
from components.interchange.scoring import softmax
from pipelines.pictures import Picture, found_in

MOST_LANES = 8  # Each holds the activations of a batch.


@dataclass(frozen=True)
class Prediction:
    """The answer for one image: its likeliest class, and the probability of every class in the model's order.

    `sure` says whether the confidence reaches the threshold that ships with the model; None where none does.
    """

    name: str
    top_class: str
    probabilities: dict[str, float]
    sure: bool | None

    @property
    def confidence(self) -> float:
        return self.probabilities[self.top_class]


@dataclass(frozen=True)
class Unreadable:
    """An image that there is no answer for, and why: it cannot be read, or the model says no numbers."""

    name: str
    reason: str


class Batch(NamedTuple):
    """Pictures to work on together, and the bytes of their files."""

    pictures: list[Picture]
    num_bytes: int


Answer = Prediction | Unreadable
Read = bytes | Unreadable
Decoded = NDArray[np.uint8] | Unreadable


def predict(model_folder: Path, images: Sequence[str], batch_size: int = 8) -> Iterator[Answer]:
    """An answer for every image, in order; an image that cannot be read does not cost the others theirs.

    `images` are files, folders (every file below) and s3:// URIs of either. BadInput at once when the model itself is
    damaged, when a folder is empty or there is no image at all.
    """
    lanes = min(num_cores(), MOST_LANES)
    session, card = open_model(model_folder, options=own_options(num_cores() // lanes))
    pictures = found_in(images)
    return _answers(session, card, pictures, batch_size, lanes)


def _answers(
    session: Any, card: OnnxCard, pictures: Iterator[Picture], batch_size: int, lanes: int
) -> Iterator[Answer]:
    """Answers in order, while `lanes` later batches are worked on and the files after them are being read.

    Fewer, where their files are so large that together they would take more memory than is for reading ahead.
    """
    most = 2 * lanes + 1
    with ThreadPoolExecutor(most) as readers, ThreadPoolExecutor(lanes) as workers:

        def submit(batch: Batch) -> Future[list[Answer]]:
            return workers.submit(_answered, session, card, batch.pictures, readers.submit(_read, batch.pictures))

        for answers in in_order(submit, _batches(pictures, batch_size), most, lambda batch: batch.num_bytes):
            yield from answers


def _batches(pictures: Iterable[Picture], batch_size: int) -> Iterator[Batch]:
    """Pictures in order; fewer where their bytes are a good part of what may be read ahead."""
    batch: list[Picture] = []
    num_bytes = 0
    for picture in pictures:
        of_picture = picture.num_bytes()
        if batch and (len(batch) == batch_size or num_bytes + of_picture > bytes_to_read_ahead() // 4):
            yield Batch(batch, num_bytes)
            batch, num_bytes = [], 0
        batch.append(picture)
        num_bytes += of_picture
    if batch:
        yield Batch(batch, num_bytes)


def _read(batch: Sequence[Picture]) -> list[Read]:
    found: list[Read] = []
    for picture in batch:
        try:
            found.append(picture.read())
        except OSError as error:
            found.append(Unreadable(picture.name, error.strerror or str(error)))
        except BadInput as error:
            found.append(Unreadable(picture.name, str(error)))
    return found


def _decoded(picture: Picture, data: Read, card: OnnxCard) -> Decoded:
    if isinstance(data, Unreadable):
        return data
    try:
        return preprocess(data, card.preprocessing)
    except BrokenImage as error:
        return Unreadable(picture.name, str(error))


def _answered(session: Any, card: OnnxCard, batch: Sequence[Picture], reading: Future[list[Read]]) -> list[Answer]:
    """The answers of one batch, as soon as its files are read."""
    decoded = [_decoded(picture, data, card) for picture, data in zip(batch, reading.result(), strict=True)]
    readable = [pixels for pixels in decoded if not isinstance(pixels, Unreadable)]
    probabilities = iter(_probabilities(session, card, readable) if readable else ())
    return [
        pixels if isinstance(pixels, Unreadable) else _answer(picture.name, next(probabilities), card)
        for picture, pixels in zip(batch, decoded, strict=True)
    ]


def _probabilities(session: Any, card: OnnxCard, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # Infinite logits, of which there is no share: told image by image.
        return softmax(logits_of(session, np.stack(pixels)) / card.temperature)


def _answer(name: str, probabilities_C: NDArray[np.float64], card: OnnxCard) -> Answer:
    if not np.isfinite(probabilities_C).all():
        return Unreadable(name, "the model answers it with logits that are not finite")
    best = int(probabilities_C.argmax())
    sure = None if card.threshold is None else bool(probabilities_C[best] >= card.threshold.confidence)
    by_class = dict(zip(card.classes, probabilities_C.tolist(), strict=True))
    return Prediction(name, card.classes[best], by_class, sure)
