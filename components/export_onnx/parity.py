"""Does the ONNX file answer as torch does? On real images: top-1 flips, logits, calibration, in every setting.

A setting is a provider, a graph-optimisation level and a batch size. One torch reference for all of them: logits of an
image may not depend on what else is in its batch. A tie broken differently is a flip. N images, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components.export_onnx.settings import SERVED, Setting
from components.interchange import scoring
from components.interchange.providers import CPU_PROVIDER
from components.interchange.scoring import Labels, Logits


@dataclass(frozen=True)
class Flip:
    """An image whose top-1 differs: class numbers by torch and by onnxruntime, in this setting."""

    id: str
    torch: int
    onnx: int
    batch: int
    provider: str = CPU_PROVIDER
    optimisation: str = SERVED


class CalibrationChange(NamedTuple):
    """Differences of calibration error and negative log-likelihood (nats); None where a logit is not finite."""

    ece: float | None
    nll: float | None


@dataclass(frozen=True)
class Agreement:
    """One setting against torch, differences as ONNX - torch; None where a logit is not finite.

    `max_rel_diff` is the largest share of an image's largest logit, or of 1 where that is smaller: what rounding adds
    grows with the numbers that are summed.
    """

    setting: Setting
    flips: int
    max_abs_diff: float | None
    max_rel_diff: float | None
    ece_difference: float | None
    nll_difference: float | None


@dataclass(frozen=True)
class Parity:
    """The largest differences over all images and settings; None when any logit is not finite."""

    max_abs_diff: float | None
    max_rel_diff: float | None
    flips: list[Flip]
    agreements: list[Agreement]


def compare(
    ids: Sequence[str],
    labels_N: Labels,
    temperature: float,
    reference_NC: Logits,
    found_NC_by_setting: Mapping[Setting, Logits],
) -> Parity:
    """Compare logits by setting with the reference, image by image; calibration at the classifier's temperature."""
    flips: list[Flip] = []
    agreements = []
    expected_N = reference_NC.argmax(axis=1)
    for setting, found_NC in found_NC_by_setting.items():
        top_N = found_NC.argmax(axis=1)
        turned = np.flatnonzero(top_N != expected_N).tolist()
        flips += [
            Flip(
                ids[row],
                int(expected_N[row]),
                int(top_N[row]),
                setting.batch,
                setting.provider,
                setting.optimisation,
            )
            for row in turned
        ]
        agreements.append(_agreement(setting, len(turned), labels_N, temperature, reference_NC, found_NC))
    absolute = _largest([agreement.max_abs_diff for agreement in agreements])
    return Parity(absolute, _largest([agreement.max_rel_diff for agreement in agreements]), flips, agreements)


def _largest(found: Sequence[float | None]) -> float | None:
    finite = [one for one in found if one is not None]
    return max(finite, default=0.0) if len(finite) == len(found) else None


def _agreement(
    setting: Setting, flips: int, labels_N: Labels, temperature: float, reference_NC: Logits, found_NC: Logits
) -> Agreement:
    absolute_N = np.abs(found_NC - reference_NC).max(axis=1)
    relative_N = absolute_N / np.maximum(np.abs(reference_NC).max(axis=1), 1.0)
    largest = (float(each_N.max(initial=0.0)) for each_N in (absolute_N, relative_N))
    absolute, relative = (one if np.isfinite(one) else None for one in largest)
    calibration = calibration_change(labels_N, temperature, reference_NC, found_NC)
    return Agreement(setting, flips, absolute, relative, calibration.ece, calibration.nll)


def calibration_change(
    labels_N: Labels, temperature: float, reference_NC: Logits, found_NC: Logits
) -> CalibrationChange:
    """How much worse calibrated the found logits are than the reference, both divided by the temperature."""
    if not np.isfinite(found_NC - reference_NC).all():
        return CalibrationChange(None, None)
    ece, nll = (
        score(found_NC / temperature, labels_N) - score(reference_NC / temperature, labels_N)
        for score in (scoring.ece, scoring.nll)
    )
    return CalibrationChange(ece, nll)


def findings(parity: Parity, tolerance: float) -> list[str]:
    """Why a model must not be promoted, in words. Flips are for the gate to judge: it knows how many are allowed."""
    found = []
    if parity.max_rel_diff is None:
        found.append("some logits are not finite")
    elif parity.max_rel_diff > tolerance:
        found.append(
            f"the largest logit difference is {parity.max_rel_diff:.1e} of the image's largest logit "
            f"(of 1 where that is smaller), tolerance {tolerance:.1e}"
        )
    return found
