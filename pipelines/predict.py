"""Classes with probabilities for image files, from the onnx_model artifact alone: onnxruntime, numpy and Pillow.

The images go through the same preprocessing as the training images did. N images, C classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.interchange.cards import OnnxCard
from components.interchange.errors import BadInput, listed
from components.interchange.onnx_model import logits_of, open_model
from components.interchange.pixels import BrokenImage, preprocess
from components.interchange.scoring import softmax


@dataclass(frozen=True)
class Prediction:
    """The answer for one image: its most likely class, and the probability of every class in the model's order."""

    path: Path
    top_class: str
    probabilities: dict[str, float]


def predict(model_folder: Path, images: Sequence[Path], batch_size: int = 8) -> Iterator[Prediction]:
    """Predictions in the order of `images`.

    An image that cannot be read does not cost the others their answers: they come first, then one BadInput lists all
    that could not be read. BadInput at once when the model itself is damaged, and on an empty list.
    """
    if not images:
        raise BadInput("no images were given. Expected one or more image files.")
    session, card = open_model(model_folder)
    return _predictions(session, card, images, batch_size)


def _predictions(session: object, card: OnnxCard, images: Sequence[Path], batch_size: int) -> Iterator[Prediction]:
    unreadable: list[str] = []
    for start in range(0, len(images), batch_size):
        readable = {}
        for position, path in enumerate(images[start : start + batch_size], start):
            try:
                readable[position] = preprocess(path.read_bytes(), card.preprocessing)
            except BrokenImage as error:
                unreadable.append(f"{path} ({error})")
            except OSError as error:
                unreadable.append(f"{path} ({error.strerror})")
        if readable:
            logits_NC = logits_of(session, np.stack(list(readable.values())))
            probabilities_NC = softmax(logits_NC / card.temperature)
            for position, probabilities_C in zip(readable, probabilities_NC, strict=True):
                by_class = dict(zip(card.classes, probabilities_C.tolist(), strict=True))
                yield Prediction(images[position], card.classes[int(probabilities_C.argmax())], by_class)
    if unreadable:
        raise BadInput(f"{len(unreadable)} of {len(images)} images cannot be read: {listed(unreadable)}.")
