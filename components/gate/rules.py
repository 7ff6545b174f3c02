"""Figures against budgets: each rule holds, is violated, or stays open because its budget lies inside the interval."""

import math
from dataclasses import dataclass
from typing import Literal

from components.interchange.errors import BadInput, counted, listed
from components.interchange.report import Row

Outcome = Literal["holds", "violated", "open"]
SHORT_ID = 12
IN_WORDS = {
    "p50_ms": "p50",
    "p99_ms": "p99",
    "top1": "test top1",
    "balanced_accuracy": "balanced accuracy on test",
    "ece": "calibration error (ece) on test",
    "top1_difference": "gain in test top1",
    "top1_difference_adjusted": "gain in test top1, on images that the champion does not know,",
}


@dataclass(frozen=True)
class Finding:
    """What one rule found: the figure as a row `of` the rule, and the sentence for people."""

    outcome: Outcome
    words: str
    row: Row


def figure(value: float, unit: str = "") -> str:
    """Milliseconds as 48.3, 3.21 or 0.0048, whole numbers as they are, fractions as 0.930 or 1.0e-04."""
    if unit == "ms":
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"


def number(row: Row) -> float:
    """The row's value as a number; BadInput where it is none."""
    if not isinstance(row.value, int | float):
        raise BadInput(
            f"the figure {row.name} of {row.of or 'a report'} is {row.value!r}, expected a number. Was the report "
            "written by this version?"
        )
    return row.value


def bounds(row: Row) -> tuple[float, float]:
    """The row's interval, the value included; the value alone where there is none.

    A side that the sample was too small to bound is infinite: too few runs say nothing about how slow p99 may be.
    """
    value = number(row)
    if row.low is None and row.high is None:
        return value, value
    low, high = (-math.inf if row.low is None else row.low), (math.inf if row.high is None else row.high)
    return min(value, low), max(value, high)


def shown(row: Row) -> str:
    """`p99 48.3 [44.1, 52.0] ms`; a side without a bound is `unbounded`."""
    return f"{IN_WORDS[row.name]} {measured(row)}"


def measured(row: Row) -> str:
    """The same without its name."""
    unit = f" {row.unit}" if row.unit else ""
    if row.low is None and row.high is None:
        return f"{_shown(row, number(row))}{unit}"
    low, high = ("unbounded" if bound is None else _shown(row, bound) for bound in (row.low, row.high))
    return f"{_shown(row, number(row))} [{low}, {high}]{unit}"


def _shown(row: Row, value: float) -> str:
    sign = "+" if row.name.startswith("top1_difference") and value >= 0 else ""
    return sign + figure(value, row.unit)


def of_rule(row: Row, rule: str) -> Row:
    """The row as the gate's report carries it: `of` names the rule."""
    return row.model_copy(update={"of": rule})


def at_most(rule: str, row: Row, budget: float, basis: str) -> Finding:
    """The figure must not be over its budget; `basis` says what it rests on: `1,000 runs, batch 1, 4 threads`."""
    outcome, told = _held_against(row, budget)
    unit = f" {row.unit}" if row.unit else ""
    words = f"{shown(row)} {told} its budget of {figure(budget, row.unit)}{unit} ({basis})"
    return Finding(outcome, words, of_rule(row, rule))


def _held_against(row: Row, budget: float) -> tuple[Outcome, str]:
    low, high = bounds(row)
    if high <= budget:
        return "holds", "is within"
    return ("violated", "is over") if low > budget else ("open", "cannot be told from")


def at_least(rule: str, row: Row, minimum: float, basis: str) -> Finding:
    """The figure must not be under its minimum."""
    low, high = bounds(row)
    outcome: Outcome
    if low >= minimum:
        outcome, told = "holds", "reaches"
    elif high < minimum:
        outcome, told = "violated", "is under"
    else:
        outcome, told = "open", "cannot be told from"
    return Finding(
        outcome, f"{shown(row)} {told} its minimum of {figure(minimum, row.unit)} ({basis})", of_rule(row, rule)
    )


def above(rule: str, row: Row, floor: float, of_whom: str, basis: str) -> Finding:
    """The figure must be above that of `of_whom`."""
    low, high = bounds(row)
    outcome: Outcome = "holds" if low > floor else "violated" if high < floor else "open"
    told = {"holds": "is above", "violated": "is below", "open": "cannot be told from"}[outcome]
    return Finding(outcome, f"{shown(row)} {told} that of {of_whom}, {figure(floor)} ({basis})", of_rule(row, rule))


def eligible(is_eligible: bool, because: list[str]) -> Finding:
    """The exported file must be one that may be promoted."""
    words = "the exported model is eligible"
    if not is_eligible:
        words = f"the exported model is not eligible: {'; '.join(because) or 'no reason given'}"
    row = Row(name="eligible", value=is_eligible)
    return Finding("holds" if is_eligible else "violated", words, of_rule(row, "eligible"))


def flips(row: Row, max_flips: int, num_samples: int, ids: list[str]) -> Finding:
    """Parity samples whose top-1 differs between torch and ONNX."""
    outcome, told = _held_against(row, max_flips)
    which = f": {listed(name[:SHORT_ID] for name in sorted(set(ids)))}" if ids else ""
    found = f"the exported file answers {number(row):,} of {counted(num_samples, 'images')} otherwise than torch"
    return Finding(
        outcome, f"{found}, which {told} the budget of {max_flips:,} flips{which}", of_rule(row, "max_flips")
    )
