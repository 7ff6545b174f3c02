"""On which scale a client's answers and the model's own are held against each other, and what rounding does on it.

Legend: N images, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.interchange.errors import BadInput
from components.interchange.scoring import softmax
from pipelines.client import Answers, Kind

Logits = NDArray[np.float64]
LEAST_PROBABILITY = 1e-6
MOST_DECIMALS = 6  # With more, rounding moves nothing that counts.
FEWEST_DECIMALS = 3
SAME = 1e-9


@dataclass(frozen=True)
class Scale:
    """Logits without what is common to all classes, or logarithms of probabilities.

    `decimals` is how many the client prints, None where it rounds nothing. Probabilities below one unit of the last
    decimal, the model's own too, count as one unit.
    """

    kind: Kind
    temperature: float
    decimals: int | None

    def of_answers(self, values_NC: Logits) -> Logits:
        """What the client said, [N, C]."""
        if self.kind == "logits":
            return np.asarray(values_NC - values_NC.mean(axis=1, keepdims=True))
        unit = LEAST_PROBABILITY if self.decimals is None else 10.0**-self.decimals
        return np.asarray(np.log(np.maximum(values_NC, unit)), np.float64)

    def of_logits(self, logits_NC: Logits, temperature: float | None = None) -> Logits:
        """What a client says whose model gives these logits."""
        return self.of_answers(self._told(logits_NC, temperature))

    def rounding(self, logits_NC: Logits) -> float:
        """How far rounding alone takes these logits' answers, as a root of the mean square."""
        if self.decimals is None:
            return 0.0
        return rms(self.of_answers(self._told(logits_NC).round(self.decimals)) - self.of_logits(logits_NC))

    def _told(self, logits_NC: Logits, temperature: float | None = None) -> Logits:
        return logits_NC if self.kind == "logits" else softmax(logits_NC / (temperature or self.temperature))


def scale_of(answers: Answers, temperature: float) -> Scale:
    """The scale of a client's answers. BadInput where it rounds probabilities so far that they tell nothing."""
    decimals = next((digits for digits in range(MOST_DECIMALS + 1) if _rounded_to(answers.values_NC, digits)), None)
    if answers.kind == "probabilities" and decimals is not None and decimals < FEWEST_DECIMALS:
        raise BadInput(
            f"the client's probabilities have {decimals} decimals, expected at least {FEWEST_DECIMALS}: it rounds "
            "them, or the model is that sure. Have it print them as they are, or logits."
        )
    return Scale(answers.kind, temperature, decimals)


def rms(differences_NC: Logits) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(differences_NC**2)))


def _rounded_to(values_NC: Logits, decimals: int) -> bool:
    return bool((np.abs(values_NC - values_NC.round(decimals)) <= SAME).all())
