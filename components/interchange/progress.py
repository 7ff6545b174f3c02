"""Progress on long work: a bar with rate and time left, one import for every step; the store hears of it too."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from components.interchange.heartbeat import beat
from components.interchange.ranks import is_first

T = TypeVar("T")
# tqdm's own, but for the rate: below one a second it would turn over to "2.52s/ batches".
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


def progress(items: Iterable[T], label: str, *, total: int | None = None, unit: str = " images") -> Iterator[T]:
    """Iterate with a bar on standard error; where that is no terminal, a line every 10 s and none for short work."""
    terminal, started = sys.stderr.isatty(), time.monotonic()
    bar = tqdm(
        items,
        desc=label,
        total=total,
        unit=unit,
        leave=False,
        dynamic_ncols=True,
        mininterval=0.1 if terminal else 10.0,
        delay=0.0 if terminal else 10.0,
        ascii=None if terminal else True,
        bar_format=BAR,
        disable=not is_first(),
    )
    for done, item in enumerate(bar):
        beat(label, done, bar.total, unit, started)
        yield item
