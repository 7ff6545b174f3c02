"""Figures of a report in words: `0.930 [0.905, 0.953]`, and whether a difference is good, bad or unsure."""

from collections.abc import Callable, Mapping, Sequence

from components.interchange.page import KeyFigure, Table, Tone
from components.interchange.report import Row

# Figures of latency by the names of their rows, as columns of a table.
ASKED = {"p50_ms": "p50, ms", "p90_ms": "p90, ms", "p99_ms": "p99, ms", "images_per_s": "images/s"}
FRESH = {
    "load_ms": "load, ms",
    "first_answer_ms": "first answer, ms",
    "process_ms": "in all, ms",
    "peak_rss_bytes": "memory",
}


def number(value: float | int | str | bool | None, unit: str = "", sign: str = "") -> str:
    """A value as people write it: milliseconds by their size, fractions with three digits, counts with commas."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if unit == "bytes":
        return f"{value / 1e6:{sign},.1f} MB"
    if isinstance(value, int):
        return f"{value:{sign},}"
    if unit in ("ms", "images/s"):
        return f"{value:{sign},.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
    return f"{value:{sign}.1e}" if 0 < abs(value) < 0.001 else f"{value:{sign}.3f}"


def shown(row: Row | None, sign: str = "") -> str:
    """A row's value with its interval, where it has one; a dash where there is no figure."""
    if row is None or row.value is None:
        return "–"
    found = number(row.value, row.unit, sign)
    if row.low is None and row.high is None:
        return found
    return f"{found} [{number(row.low, row.unit, sign)}, {number(row.high, row.unit, sign)}]"


def percent(value: float | int | str | bool | None, sign: str = "") -> str:
    """A share on [0, 1], or a difference of two, in per cent with one digit; a dash where there is none."""
    return f"{100 * value:{sign}.1f}" if isinstance(value, int | float) else "–"


def share(label: str, row: Row | None) -> list[KeyFigure]:
    """A share on [0, 1] as one of a page's key figures, in per cent."""
    return _share(label, row, "%", "", "plain")


def gain(label: str, row: Row | None) -> list[KeyFigure]:
    """A difference of two shares as a key figure, in percentage points, in the colour of what it means."""
    return _share(label, row, "", "+", tone(row))


def _share(label: str, row: Row | None, unit: str, sign: str, is_tone: Tone) -> list[KeyFigure]:
    if row is None or row.value is None:
        return []
    basis = [] if row.low is None else [f"{percent(row.low, sign)} to {percent(row.high, sign)}"]
    basis += [f"n {row.n:,}"] if row.n is not None else []
    return [KeyFigure(label, f"{percent(row.value, sign)} {unit}".rstrip(), ", ".join(basis), is_tone)]


def gains_of(find: Callable[[str, str, str], Row | None]) -> dict[str, Row]:
    """The paired differences on test that were judged, by whose they are: `candidate over baseline`, ….

    Over the champion it is the one without images that it was trained on; the name says so where any were left out.
    `find` gives an evaluation's rows by name, of and split.
    """
    rows = {"candidate over baseline": find("top1_difference", "candidate-baseline", "test")}
    every, fair = (find(f"top1_difference{suffix}", "selected-champion", "test") for suffix in ("", "_adjusted"))
    leaks = every is not None and fair is not None and every.n != fair.n
    rows["over champion, without images it knows" if leaks else "over champion"] = fair or every
    return {whose: row for whose, row in rows.items() if row is not None}


def by_owner(rows: Sequence[Row], columns: Mapping[str, str], owner: str) -> Table:
    """A table with a line for each `of` and a column for each named figure that any of them has.

    `columns` maps names of rows to headings. Of several rows with one name and owner the median counts.
    """
    owners = list(dict.fromkeys(row.of for row in rows if row.name in columns))
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.value is not None:
            found.setdefault((row.of, row.name), []).append(row)
    present = [name for name in columns if any((of, name) in found for of in owners)]
    lines = [[of, *(shown(_middle(found.get((of, name), []))) for name in present)] for of in owners]
    return Table([owner, *(columns[name] for name in present)], lines)


def _middle(rows: Sequence[Row]) -> Row | None:
    """The row of the median, the lower one of two."""
    return sorted(rows, key=lambda row: float(row.value or 0))[(len(rows) - 1) // 2] if rows else None


def tone(row: Row | None) -> Tone:
    """Of a difference: good or bad where its interval leaves out zero, else unsure."""
    if row is None or row.low is None or row.high is None:
        return "plain"
    return "good" if row.low > 0 else "bad" if row.high < 0 else "unsure"


def key_figure(label: str, row: Row | None, sign: str = "", is_tone: Tone = "plain", note: str = "") -> list[KeyFigure]:
    """A row as one of a page's key figures, its interval and n below it; none where there is no figure."""
    if row is None or row.value is None:
        return []
    low, high = (number(bound, row.unit, sign) for bound in (row.low, row.high))
    basis = []
    if row.low is not None and row.high is not None:
        basis.append(f"{low} to {high}")
    elif row.low is not None or row.high is not None:  # Too few runs for the other bound.
        basis.append(f"at most {high}" if row.low is None else f"at least {low}")
    basis += [f"n {row.n:,}"] if row.n is not None else []
    basis += [note] if note else []
    unit = "" if row.unit == "bytes" else row.unit
    value = f"{number(row.value, row.unit, sign)} {unit}".rstrip()
    return [KeyFigure(label, value, ", ".join(basis), is_tone)]
