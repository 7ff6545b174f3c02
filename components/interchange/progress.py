"""Progress on long work: a bar with rate and time left, one import for every step."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], label: str, *, total: int | None = None, unit: str = " images") -> Iterator[T]:
    """Iterate with a bar on standard error; where that is no terminal, a line every 10 s and none for short work."""
    terminal = sys.stderr.isatty()
    yield from tqdm(
        items,
        desc=label,
        total=total,
        unit=unit,
        leave=False,
        dynamic_ncols=True,
        mininterval=0.1 if terminal else 10.0,
        delay=0.0 if terminal else 10.0,
        ascii=None if terminal else True,
    )
