"""Progress on long work: a bar with rate and time left, one import for every step; the store hears of it too."""

import sys
import time
from collections.abc import Generator, Iterable
from typing import TypeVar

from tqdm import tqdm

from components.interchange.heartbeat import beat
from components.interchange.ranks import is_first

T = TypeVar("T")
EVERY_S = 10.0  # A line, where standard error is no terminal.
# tqdm's own, but for the rate: below one a second it would turn over to "2.52s/ batches".
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


class _Lines:
    """Standard error where nothing can be overwritten: each state of a bar is a line. A pod's log shows whole lines."""

    def write(self, text: str) -> None:
        """What tqdm writes over the line before."""
        if text.strip():
            sys.stderr.write(f"{text.strip()}\n")

    def flush(self) -> None:
        """As tqdm asks for."""
        sys.stderr.flush()


def progress(
    items: Iterable[T], label: str, *, total: int | None = None, unit: str = " images"
) -> Generator[T, None, None]:
    """Iterate with a bar on standard error; where that is no terminal, a line every 10 s and none for short work."""
    terminal, started = sys.stderr.isatty(), time.monotonic()
    bar = tqdm(
        items,
        desc=label,
        total=total,
        unit=unit,
        file=None if terminal else _Lines(),
        leave=False,
        dynamic_ncols=True,
        mininterval=0.1 if terminal else EVERY_S,
        delay=0.0 if terminal else EVERY_S,
        ascii=None if terminal else True,
        bar_format=BAR,
        disable=not is_first(),
    )
    for done, item in enumerate(bar):
        beat(label, done, bar.total, unit, started)
        yield item
