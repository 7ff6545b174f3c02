"""Figures against budgets: each rule holds, is violated, or stays open because its budget lies inside the interval."""

import math
from dataclasses import dataclass
from typing import Literal

from components.interchange.errors import listed
from components.interchange.report import Row

Outcome = Literal["holds", "violated", "open"]
SHORT_ID = 12


@dataclass(frozen=True)
class Finding:
    """What one rule found: the figure as a row `of` the rule, and the sentence for people."""

    outcome: Outcome
    words: str
    row: Row


def figure(value: float, unit: str = "") -> str:
    """Milliseconds as 48.3 or 3.21, whole numbers as they are, fractions as 0.930."""
    if unit == "ms":
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def counted(number: int, word: str) -> str:
    """`1 thread`, `1,000 runs`: `word` is the plural."""
    return f"{number:,} {word.removesuffix('s') if number == 1 else word}"


def number(row: Row) -> float:
    """The row's value as a number."""
    assert isinstance(row.value, int | float)
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
    """`p99_ms 48.3 [44.1, 52.0]`; a side without a bound is `unbounded`."""
    found = f"{row.name} {_shown(row, number(row))}"
    if row.low is None and row.high is None:
        return found
    low, high = ("unbounded" if bound is None else _shown(row, bound) for bound in (row.low, row.high))
    return f"{found} [{low}, {high}]"


def _shown(row: Row, value: float) -> str:
    sign = "+" if row.name.endswith("_difference") and value >= 0 else ""
    return sign + figure(value, row.unit)


def of_rule(row: Row, rule: str) -> Row:
    """The row as the gate's report carries it: `of` names the rule."""
    return row.model_copy(update={"of": rule})


def at_most(rule: str, row: Row, budget: float, basis: str) -> Finding:
    """The figure must not be over its budget; `basis` says what it rests on: `1,000 runs, batch 1, 4 threads`."""
    low, high = bounds(row)
    outcome: Outcome
    if high <= budget:
        outcome, told = "holds", "is within its budget"
    elif low > budget:
        outcome, told = "violated", "is over its budget"
    else:
        outcome, told = "open", "cannot be told from its budget"
    return Finding(outcome, f"{shown(row)} {told} {figure(budget, row.unit)} ({basis})", of_rule(row, rule))


def at_least(rule: str, row: Row, minimum: float, basis: str) -> Finding:
    """The figure must not be under its minimum."""
    low, high = bounds(row)
    outcome: Outcome
    if low >= minimum:
        outcome, told = "holds", "reaches its minimum"
    elif high < minimum:
        outcome, told = "violated", "is under its minimum"
    else:
        outcome, told = "open", "cannot be told from its minimum"
    return Finding(outcome, f"{shown(row)} {told} {figure(minimum, row.unit)} ({basis})", of_rule(row, rule))


def eligible(is_eligible: bool, because: list[str]) -> Finding:
    """The exported file must be one that may be promoted."""
    words = "the exported model is eligible"
    if not is_eligible:
        words = f"the exported model is not eligible: {'; '.join(because) or 'no reason given'}"
    row = Row(name="eligible", value=is_eligible)
    return Finding("holds" if is_eligible else "violated", words, of_rule(row, "eligible"))


def flips(row: Row, max_flips: int, num_samples: int, ids: list[str]) -> Finding:
    """Parity samples whose top-1 differs between torch and ONNX."""
    images = f": {listed(name[:SHORT_ID] for name in sorted(set(ids)))}" if ids else ""
    return at_most("max_flips", row, max_flips, f"{counted(num_samples, 'parity samples')}{images}")
