"""What a careful colleague would say of a classifier's answers on test. In words."""

from collections.abc import Sequence

from components.interchange.errors import listed
from components.interchange.report import Row

HALF = 0.5


def of_classes(rows: Sequence[Row], of: str) -> list[str]:
    """Whether there are classes of whose images it misses more than it finds, by more than chance."""
    recalls = [row for row in rows if (row.name, row.split) == ("recall", "test") and row.of.startswith(f"{of}/")]
    missed = [
        f"{row.of.removeprefix(f'{of}/')} ({round(float(row.value or 0) * (row.n or 0))} of {row.n} found)"
        for row in recalls
        if row.high is not None and row.high < HALF
    ]
    return [f"the {of} misses most test images of {listed(missed)}"] if missed else []
