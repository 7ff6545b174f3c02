"""Garbage in cycles, sought less often: what ingest makes by the million stays and forms none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

NEW_OBJECTS = 100_000  # Python's own 700 has all objects gone through again and again while a listing grows.


@contextmanager
def seldom_sought() -> Iterator[None]:
    """Meanwhile look for it after so many new objects; afterwards as before."""
    before = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
