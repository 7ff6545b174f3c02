"""Classes with probabilities for images, from the onnx_model artifact alone: onnxruntime, numpy and Pillow.

The images go through the same preprocessing as the training images did, in threads, some batches ahead of the model.
N images, C classes.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from components.interchange.cards import OnnxCard
from components.interchange.errors import BadInput
from components.interchange.onnx_model import logits_of, open_model
from components.interchange.pixels import BrokenImage, preprocess
from components.interchange.scoring import softmax
from pipelines.pictures import Picture, found_in

BATCHES_AHEAD = 3


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
    """An image that there is no answer for, and why."""

    name: str
    reason: str


Answer = Prediction | Unreadable
Decoded = NDArray[np.uint8] | Unreadable


def predict(model_folder: Path, images: Sequence[str], batch_size: int = 8) -> Iterator[Answer]:
    """An answer for every image, in order; an image that cannot be read does not cost the others theirs.

    `images` are files, folders (every file below) and s3:// URIs of either. BadInput at once when the model itself is
    damaged, when a folder is empty or there is no image at all.
    """
    session, card = open_model(model_folder, options=_options())
    pictures = found_in(images)
    return _answers(session, card, pictures, batch_size)


def _options() -> Any:
    options = ort.SessionOptions()
    # Between two batches onnxruntime's threads would burn the cores that decode the next one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _answers(session: Any, card: OnnxCard, pictures: Iterator[Picture], batch_size: int) -> Iterator[Answer]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in _batches(pool, card, pictures, batch_size):
            readable = [pixels for _, pixels in batch if not isinstance(pixels, Unreadable)]
            probabilities = iter(_probabilities(session, card, readable) if readable else ())
            for name, pixels in batch:
                yield pixels if isinstance(pixels, Unreadable) else _prediction(name, next(probabilities), card)


def _batches(
    pool: ThreadPoolExecutor, card: OnnxCard, pictures: Iterator[Picture], batch_size: int
) -> Iterator[list[tuple[str, Decoded]]]:
    """Decoded images in order, `batch_size` at a time, while later ones are being decoded."""

    def decoded(picture: Picture) -> Decoded:
        try:
            return preprocess(picture.read(), card.preprocessing)
        except BrokenImage as error:
            return Unreadable(picture.name, str(error))
        except OSError as error:
            return Unreadable(picture.name, error.strerror or str(error))
        except BadInput as error:
            return Unreadable(picture.name, str(error))

    waiting: deque[tuple[str, Future[Decoded]]] = deque()

    def fill() -> None:
        for picture in islice(pictures, BATCHES_AHEAD * batch_size - len(waiting)):
            waiting.append((picture.name, pool.submit(decoded, picture)))

    fill()
    while waiting:
        batch = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
        fill()
        yield [(name, future.result()) for name, future in batch]


def _probabilities(session: Any, card: OnnxCard, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    return softmax(logits_of(session, np.stack(pixels)) / card.temperature)


def _prediction(name: str, probabilities_C: NDArray[np.float64], card: OnnxCard) -> Prediction:
    best = int(probabilities_C.argmax())
    sure = None if card.threshold is None else bool(probabilities_C[best] >= card.threshold.confidence)
    by_class = dict(zip(card.classes, probabilities_C.tolist(), strict=True))
    return Prediction(name, card.classes[best], by_class, sure)
