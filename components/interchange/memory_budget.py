"""Memory that threads share, counted before it is taken: what is small goes on at once, what is huge one at a time."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from components.interchange.control_groups import GROUPS, OWN_GROUPS, groups_of

DECODING_SHARE, READING_SHARE = 1 / 4, 1 / 8  # Of the memory that this process may use.


class MemoryBudget:
    """So many bytes for all threads at a time; one that asks for more gets them when nobody else has any."""

    def __init__(self, most_bytes: Callable[[], int]) -> None:
        """`most_bytes` is asked when it counts."""
        self._most_bytes = most_bytes
        self._taken_bytes = 0
        self._given_back = threading.Condition()

    @contextmanager
    def taken(self, num_bytes: int) -> Iterator[None]:
        """Meanwhile so many bytes are this thread's; it waits until they are there. Not to be nested."""
        with self._given_back:
            self._given_back.wait_for(lambda: self._fits(num_bytes))
            self._taken_bytes += num_bytes
        try:
            yield
        finally:
            with self._given_back:
                self._taken_bytes -= num_bytes
                self._given_back.notify_all()

    def _fits(self, num_bytes: int) -> bool:
        return self._taken_bytes == 0 or self._taken_bytes + num_bytes <= self._most_bytes()


@cache
def bytes_to_decode() -> int:
    """Of images between their file's bytes and their small copy, at a time."""
    return int(DECODING_SHARE * usable_bytes())


@cache
def bytes_to_read_ahead() -> int:
    """Of files that are read and wait to be decoded, at a time."""
    return int(READING_SHARE * usable_bytes())


def usable_bytes(own: Path = OWN_GROUPS, mounted: Path = GROUPS) -> int:
    """The memory of this machine, or less where Linux's control groups limit it."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([there, *(limit for group in groups_of("memory", own, mounted) if (limit := _limit(group)))])


def _limit(group: Path) -> int:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return int((group / name).read_text())
        except (OSError, ValueError):  # No such group, or the limit `max`.
            continue
    return 0


DECODING = MemoryBudget(bytes_to_decode)
