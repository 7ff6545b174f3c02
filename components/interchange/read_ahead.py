"""Work on items in threads, results in order: a bounded number of them waits, and so do the bytes of their files."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import TypeVar

from components.interchange.memory_budget import bytes_to_read_ahead

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    submit: Callable[[T], Future[R]],
    items: Iterable[T],
    most_waiting: int,
    num_bytes: Callable[[T], int],
    at_once: int = 1,
) -> Iterator[R]:
    """What `submit` promises of every item, in the order of the items.

    An item before which the bytes of those that wait are too many waits for them, and a huge one is alone. Where
    `most_waiting` are reached, the caller sleeps until the first `at_once` of them are there.
    """
    waiting: deque[tuple[Future[R], int]] = deque()
    bytes_waiting = 0

    def first() -> R:
        nonlocal bytes_waiting
        future, of_future = waiting.popleft()
        bytes_waiting -= of_future
        return future.result()

    for item in items:
        of_item = num_bytes(item)
        while waiting and bytes_waiting + of_item > bytes_to_read_ahead():
            yield first()
        waiting.append((submit(item), of_item))
        bytes_waiting += of_item
        if len(waiting) >= most_waiting:
            wait([waiting[at_once - 1][0]])
            for _ in range(at_once):
                yield first()
    while waiting:
        yield first()
