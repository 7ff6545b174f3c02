"""Faults that show on some of the images alone, and there beyond what any decoder or resize library would do.

Over all images together such a fault drowns: eleven grey images, on which no order of channels can show, may bring more
noise than four coloured ones bring of it. Legend: N images, C classes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipelines.answer_scale import Logits, rms

# Times an image's slack: other decoders take one image to 0.7 times, libjpeg's fast one four times as far.
BEYOND = 3.0
LEAST_BEYOND = 2  # Images.
LEAST_TELLING = 3  # Images; on fewer, chance may point in the direction of one of the faults.


def rms_by_image(differences_NC: Logits) -> NDArray[np.float64]:
    """The root of the mean square of each image, [N]."""
    return np.asarray(np.sqrt(np.mean(differences_NC**2, axis=1)))


def left_of_it(said_NC: Logits, right_NC: Logits, faulty_NC: Logits, slack_N: NDArray[np.float64]) -> float:
    """The share of a client's departure that a fault leaves, over the images that it moves beyond their slack.

    Infinity where those are too few, or where the client does not depart on them.
    """
    telling_N = rms_by_image(faulty_NC - right_NC) > slack_N
    if telling_N.sum() < LEAST_TELLING:
        return math.inf
    departure = rms((said_NC - right_NC)[telling_N])
    return rms((said_NC - faulty_NC)[telling_N]) / departure if departure > 0 else math.inf


def far_off(said_NC: Logits, right_NC: Logits, slack_N: NDArray[np.float64]) -> int:
    """On how many images a client departs far beyond their slack, whatever it does to them; 0 on fewer than two."""
    found = int((rms_by_image(said_NC - right_NC) > BEYOND * slack_N).sum())
    return found if found >= LEAST_BEYOND else 0
