"""Whether a client's answers, or the numbers in them, stand in another order than they should.

Legend: N images, C classes.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from pipelines.answer_scale import Logits, rms

Departure = tuple[float, str, str]  # What is left of it, its subject, and words.


def class_order(right_NC: Logits, said_NC: Logits, classes: Sequence[str]) -> list[Departure]:
    """The other order of classes in which the answers fit best, and what it leaves."""
    apart_CC = np.sqrt(((said_NC[:, :, None] - right_NC[:, None, :]) ** 2).mean(axis=0))
    order = apart_CC.argmin(axis=1)
    if sorted(order) != list(range(len(classes))) or (order == np.arange(len(classes))).all():
        return []
    moved = [
        f"{classes[theirs]} stands where {classes[ours]} belongs" for ours, theirs in enumerate(order) if ours != theirs
    ]
    words = "; ".join(moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
    return [(rms(said_NC - right_NC[:, order]), "class order", f"the classes are shuffled: {words}")]


def answer_order(rights: Iterable[Logits], said_NC: Logits, within: float) -> list[Departure]:
    """The order of images in which the answers are right ones, up to `within`, where there is one.

    Nothing less will do: among many images, and few classes, each answer lies near to some other image's.
    """
    for right_NC in rights:
        order, left = _paired(right_NC, said_NC)
        moved = [(line, image) for line, image in enumerate(order, 1) if line != image]
        if left <= within and moved:
            words = "the answers do not stand in the order of the images: line {} is the answer to image {}"
            return [(left, "answer order", words.format(*moved[0]))]
    return []


def _paired(right_NC: Logits, said_NC: Logits) -> tuple[list[int], float]:
    """The image, from 1, that each answer is nearest to, of those that are left; and how far they are from them all."""
    unasked, order = list(range(len(right_NC))), list[int]()
    for said_C in said_NC:
        order.append(min(unasked, key=lambda image: rms(right_NC[image] - said_C)))
        unasked.remove(order[-1])
    return [image + 1 for image in order], rms(said_NC - right_NC[order])
