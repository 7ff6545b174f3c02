"""No class may be given up for the sake of the mean: recall class by class, against the champion and the baseline."""

from collections.abc import Sequence

from components.gate.rules import Finding, Outcome, bounds, figure, number, of_rule
from components.interchange.errors import counted, listed
from components.interchange.report import Row

RULE = "max_class_drop"


def drop(differences: Sequence[Row], max_drop: float, opponent: str) -> Finding:
    """Whether the lower bound of every class's recall difference is above minus `max_drop`.

    `differences` are paired, `of` is `<who>/<class>`. Classes without test images cannot be judged and leave it open,
    and so does an opponent of whom no class can be compared.
    """
    if not differences:
        words = f"whether a class lost more than {figure(max_drop)} of its recall against the {opponent} cannot be told"
        return _without("open", f"{words}: there is nothing to compare")
    unseen = [_class(row) for row in differences if row.value is None]
    seen = sorted((row for row in differences if row.value is not None), key=lambda row: (bounds(row)[0], row.of))
    clearly = [row for row in seen if bounds(row)[1] < -max_drop]
    perhaps = [row for row in seen if bounds(row)[0] <= -max_drop <= bounds(row)[1]]
    limit = f"more than {figure(max_drop)} of its recall against the {opponent}"
    outcome: Outcome
    if clearly:
        outcome, words = "violated", f"a class clearly lost {limit}: {listed(map(_told, clearly))}"
    elif perhaps or unseen:
        missing = f"; no test images of {listed(unseen)}" if unseen else ""
        which = listed(map(_told, perhaps)) or "none"
        outcome, words = "open", f"whether a class lost {limit} cannot be told: {which}{missing}"
    else:
        classes = counted(len(seen), "classes")
        lowest = f", the lowest {_told(seen[0])}" if seen else ""
        outcome, words = "holds", f"of {classes} clearly none lost {limit}{lowest}"
    worst = (clearly or perhaps or seen or list(differences))[0]
    return Finding(outcome, words, of_rule(worst, RULE))


def without_opponent(max_drop: float, is_baseline: bool) -> Finding:
    """Where there is nobody to compare with: the baseline itself loses nothing, of a candidate nothing is known."""
    if is_baseline:
        words = "there is no champion, and the baseline, which was selected, loses no recall against itself"
        return _without("holds", words)
    words = f"whether a class lost more than {figure(max_drop)} of its recall cannot be told"
    return _without("open", f"{words}: the model has neither a champion nor a baseline to be compared with")


def _without(outcome: Outcome, words: str) -> Finding:
    return Finding(outcome, words, Row(name="recall_difference", value=None, of=RULE, split="test"))


def _class(row: Row) -> str:
    return row.of.partition("/")[2]


def _told(row: Row) -> str:
    low, high = bounds(row)
    return f"{_class(row)} {number(row):+.3f} [{low:+.3f}, {high:+.3f}] ({counted(row.n or 0, 'images')})"
