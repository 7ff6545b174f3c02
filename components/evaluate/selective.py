"""Answering only when sure: risk against coverage, and the confidence above which answers are as right as wanted.

The threshold is chosen on val; test can only veto it. Legend: N images, K distinct confidences.
"""

import math
from typing import NamedTuple

import numpy as np

from components.evaluate.proportions import share
from components.evaluate.scores import row_of
from components.interchange.cards import Threshold
from components.interchange.report import Row
from components.interchange.scoring import Floats, Labels, Logits, confidences, hits

DECIMALS = 6
ALMOST_ONE = 0.9995  # From here on three decimals say 1.000.


class RiskCoverage(NamedTuple):
    """For each confidence as threshold, the highest first: share answered, share wrong among the answers; [K]."""

    confidences_K: Floats
    coverage_K: Floats
    risk_K: Floats


class Chosen(NamedTuple):
    """The threshold that ships (None: none does), how it was found in words, and its rows."""

    threshold: Threshold | None
    how: str
    rows: list[Row]


def risk_coverage(logits_NC: Logits, labels_N: Labels) -> RiskCoverage:
    """The curve of one classifier on one split. Images of equal confidence are answered together."""
    confidences_N = confidences(logits_NC)
    order = np.argsort(-confidences_N, kind="stable")
    sorted_N, wrong_N = confidences_N[order], ~hits(logits_NC, labels_N)[order]
    answered_N = np.arange(1, len(order) + 1)
    last_of_equals = np.append(sorted_N[1:] != sorted_N[:-1], True)
    return RiskCoverage(
        sorted_N[last_of_equals],
        (answered_N / len(order))[last_of_equals],
        (wrong_N.cumsum() / answered_N)[last_of_equals],
    )


def lowest_threshold(logits_NC: Logits, labels_N: Labels, wanted: float) -> float | None:
    """The lowest confidence above which the share of right answers is `wanted`, so that most images are answered.

    Fewer answers than could hold one mistake (100 for 0.99) do not show a precision: None, as where none reaches it.
    """
    curve = risk_coverage(logits_NC, labels_N)
    answers_K = np.rint(curve.coverage_K * len(labels_N))
    right_K = answers_K - np.rint(curve.risk_K * answers_K)  # 1 - 0.07 is less than 0.93.
    reached = np.flatnonzero((right_K / answers_K >= wanted) & (answers_K >= least_answers(wanted)))
    if not len(reached):
        return None
    return _rounded_down(float(curve.confidences_K[reached[-1]]))


def _rounded_down(confidence: float) -> float:
    """To six decimals, so that the image it was read from still counts as answered; more where it is so near to one
    that six would take in others: three digits of what is missing.
    """
    if confidence == 1:
        return 1.0
    decimals = max(DECIMALS, 2 - math.floor(math.log10(1 - confidence)))
    return min(confidence, math.floor(confidence * 10.0**decimals) / 10.0**decimals)


def least_answers(wanted: float) -> int:
    """Answers below which a precision of `wanted` cannot be told from a perfect one."""
    return math.ceil(round(1 / (1 - wanted), 6))


def choose(
    val_logits_NC: Logits, val_labels_N: Labels, test_logits_NC: Logits, test_labels_N: Labels, wanted: float
) -> Chosen:
    """The threshold by val, and what it does on test; not shipped where test clearly contradicts it.

    Logits are divided by the temperature already: the threshold is one of the confidences that a client sees.
    """
    confidence = lowest_threshold(val_logits_NC, val_labels_N, wanted)
    if confidence is None:
        how = (
            f"no threshold: on val (n = {len(val_labels_N):,}) no {least_answers(wanted)} or more answers are "
            f"{wanted:g} right"
        )
        return Chosen(None, how, [])
    rows = [row_of("threshold", confidence, of="selected", split="val", n=len(val_labels_N))]
    rows += _at(val_logits_NC, val_labels_N, confidence, "val") + _at(test_logits_NC, test_labels_N, confidence, "test")
    coverage, right = rows[-2:]
    shown = f"{confidence:.3f}" if confidence < ALMOST_ONE else f"{confidence:.15g}"
    told = f"above a confidence of {shown}, chosen on val for {wanted:g}, {_shown(coverage)} of test is answered"
    if right.value is None:
        return Chosen(None, f"{told}: no threshold ships", rows)
    told += f", {_shown(right)} of it rightly (n = {right.n:,})"
    if right.high is not None and right.high < wanted:
        return Chosen(None, f"{told}, clearly less than wanted: test vetoes, no threshold ships", rows)
    return Chosen(Threshold(confidence=confidence, precision=wanted), told, rows)


def _at(logits_NC: Logits, labels_N: Labels, confidence: float, split: str) -> list[Row]:
    answered_N = confidences(logits_NC) >= confidence
    right = share(hits(logits_NC, labels_N)[answered_N])
    return [
        row_of("coverage", *share(answered_N), of="selected", split=split, n=len(labels_N)),
        row_of("answered_top1", *right, of="selected", split=split, n=int(answered_N.sum())),
    ]


def _shown(row: Row) -> str:
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
