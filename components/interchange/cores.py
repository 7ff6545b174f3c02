"""How many threads are of use, and so many to share."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def threads() -> ThreadPoolExecutor:
    """A thread a core, for short pieces of work that start no others here."""
    return ThreadPoolExecutor(num_cores(), thread_name_prefix="core")
