"""Figures of a report in words: `0.930 [0.905, 0.953]`, and whether a difference is good, bad or unsure."""

from components.interchange.page import KeyFigure, Tone
from components.interchange.report import Row


def number(value: float | int | str | bool | None, unit: str = "", sign: str = "") -> str:
    """A value as people write it: milliseconds by their size, fractions with three digits, counts with commas."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:{sign},}"
    if unit in ("ms", "images/s"):
        return f"{value:{sign},.1f}" if value >= 10 else f"{value:{sign}.2f}"
    return f"{value:{sign}.1e}" if 0 < abs(value) < 0.0005 else f"{value:{sign}.3f}"


def shown(row: Row | None, sign: str = "") -> str:
    """A row's value with its interval, where it has one; a dash where there is no figure."""
    if row is None or row.value is None:
        return "–"
    found = number(row.value, row.unit, sign)
    if row.low is None and row.high is None:
        return found
    return f"{found} [{number(row.low, row.unit, sign)}, {number(row.high, row.unit, sign)}]"


def tone(row: Row | None) -> Tone:
    """Of a difference: good or bad where its interval leaves out zero, else unsure."""
    if row is None or row.low is None or row.high is None:
        return "plain"
    return "good" if row.low > 0 else "bad" if row.high < 0 else "unsure"


def key_figure(label: str, row: Row | None, sign: str = "", is_tone: Tone = "plain", note: str = "") -> list[KeyFigure]:
    """A row as one of a page's key figures, its interval and n below it; none where there is no figure."""
    if row is None or row.value is None:
        return []
    basis = []
    if row.low is not None or row.high is not None:
        basis.append(f"{number(row.low, row.unit, sign)} to {number(row.high, row.unit, sign)}")
    basis += [f"n {row.n:,}"] if row.n is not None else []
    basis += [note] if note else []
    value = f"{number(row.value, row.unit, sign)} {row.unit}".rstrip()
    return [KeyFigure(label, value, ", ".join(basis), is_tone)]
