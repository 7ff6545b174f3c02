"""Work on all cores in threads (Pillow and hashlib release the GIL), results in order, a bounded number in memory."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from components.interchange import read_ahead

T = TypeVar("T")
R = TypeVar("R")
WAITING_PER_THREAD = 8


def in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    num_threads: int,
    waiting_per_thread: int = WAITING_PER_THREAD,
    num_bytes: Callable[[T], int] = lambda _: 0,
) -> Iterator[R]:
    """`map` in threads: results come in the order of the items, a bounded number of them waits, and so do their bytes.

    The caller sleeps until half of them are there: woken for each, it would take the interpreter from the threads.
    """
    most_waiting = num_threads * waiting_per_thread
    pool = ThreadPoolExecutor(num_threads)
    try:
        yield from read_ahead.in_order(
            lambda item: pool.submit(work, item), items, most_waiting, num_bytes, at_once=(most_waiting + 1) // 2
        )
    finally:
        pool.shutdown(cancel_futures=True)
