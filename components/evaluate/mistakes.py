"""The most confident mistakes: where to look first, for wrong labels as much as for a wrong model.

Legend: N images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.interchange.scoring import Labels, Logits, confidences


@dataclass(frozen=True)
class Mistake:
    """One image that was classified wrongly; `index` is its place in the split, `confidence` a probability."""

    index: int
    id: str
    label: str
    predicted: str
    confidence: float


def most_confident(
    logits_NC: Logits, labels_N: Labels, ids: Sequence[str], classes: Sequence[str], shown: int
) -> list[Mistake]:
    """At most `shown` mistakes, the most confident first; equals stand in the split's order."""
    confidences_N = confidences(logits_NC)
    predictions_N = logits_NC.argmax(axis=1)
    wrong = np.flatnonzero(predictions_N != labels_N)
    return [
        Mistake(
            int(index),
            ids[index],
            classes[labels_N[index]],
            classes[predictions_N[index]],
            float(confidences_N[index]),
        )
        for index in wrong[np.argsort(-confidences_N[wrong], kind="stable")][:shown]
    ]
