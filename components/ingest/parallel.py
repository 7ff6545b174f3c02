"""Work on all cores in threads (Pillow and hashlib release the GIL), results in order, a bounded number in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
WAITING_PER_THREAD = 8


def in_order(
    work: Callable[[T], R], items: Iterable[T], num_threads: int, waiting_per_thread: int = WAITING_PER_THREAD
) -> Iterator[R]:
    """`map` in threads: results come in the order of the items, a bounded number of them waits.

    The caller sleeps until half of them are there: woken for each, it would take the interpreter from the threads.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= num_threads * waiting_per_thread:
                half = (len(waiting) + 1) // 2
                wait([waiting[half - 1]])
                for _ in range(half):
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
