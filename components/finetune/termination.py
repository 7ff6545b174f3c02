"""SIGTERM as a question asked between steps, so that a training can save where it stands before it ends."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def termination(noted: bool) -> Iterator[Callable[[], bool]]:
    """While inside, SIGTERM does not unwind if it is to be `noted`; the function that is given says whether it came.

    Outside the main thread signals belong to someone else, and the answer stays no.
    """
    if not noted:
        yield lambda: False
        return
    came = False

    def note(signum: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True

    try:
        previous = signal.signal(signal.SIGTERM, note)
    except ValueError:  # Not the main thread.
        yield lambda: False
        return
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGTERM, previous)
