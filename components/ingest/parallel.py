"""Work on all cores in threads (Pillow and hashlib release the GIL), results in order, a bounded number in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from components.interchange.memory_budget import bytes_to_read_ahead

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
    """`map` in threads: results come in the order of the items, a bounded number of them waits.

    So do their bytes: an item before which those of the others are too many waits for them, and a huge one is alone.
    The caller sleeps until half of them are there: woken for each, it would take the interpreter from the threads.
    """
    waiting: deque[tuple[Future[R], int]] = deque()
    bytes_waiting, most_bytes = 0, bytes_to_read_ahead()
    pool = ThreadPoolExecutor(num_threads)

    def first() -> R:
        nonlocal bytes_waiting
        future, of_future = waiting.popleft()
        bytes_waiting -= of_future
        return future.result()

    try:
        for item in items:
            of_item = num_bytes(item)
            while waiting and bytes_waiting + of_item > most_bytes:
                yield first()
            waiting.append((pool.submit(work, item), of_item))
            bytes_waiting += of_item
            if len(waiting) >= num_threads * waiting_per_thread:
                half = (len(waiting) + 1) // 2
                wait([waiting[half - 1][0]])
                for _ in range(half):
                    yield first()
        while waiting:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)
