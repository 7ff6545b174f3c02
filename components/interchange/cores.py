"""How many threads are of use, and so many to share."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from components.interchange.control_groups import GROUPS, OWN_GROUPS, groups_of

SPINS = 4000


def num_cores() -> int:
    """Cores that this process may use: those that it may run on, or fewer where a container limits its time."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(_limit(), there))


def num_threads_if_limited() -> int:
    """Threads for a library that counts cores and knows no limit of a container's: 0, its own choice, where none is."""
    return num_cores() if math.isfinite(_limit()) else 0


def prepare_threads() -> None:
    """Have threads of torch, Arrow and the BLAS under numpy share the cores with others; before any is imported.

    They are no more than a container allows, as threads beyond its limit wait for each other while the system holds
    some of them up. And who waits soon sleeps: by default GNU's OpenMP, torch's on Linux, turns 300,000 times on a core
    that others may need.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    if math.isfinite(_limit()):
        os.environ.setdefault("OMP_NUM_THREADS", str(num_cores()))


@cache
def threads() -> ThreadPoolExecutor:
    """A thread a core, for short pieces of work that start no others here."""
    return ThreadPoolExecutor(num_cores(), thread_name_prefix="core")


@cache
def _limit() -> float:
    return time_limit(OWN_GROUPS, GROUPS)


def time_limit(own: Path, mounted: Path) -> float:
    """Seconds of CPU time a second that Linux's control groups of this process allow; infinite without a limit.

    The least of its groups (`control_groups.groups_of`): `cpu.max` in version 2, `cpu.cfs_quota_us` in version 1.
    """
    return min([math.inf, *map(_allowed, groups_of("cpu", own, mounted))])


def _allowed(group: Path) -> float:
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        seconds = float(quota) / float(period)
    except (OSError, ValueError):  # No such group, or the limit `max`.
        return math.inf
    return seconds if seconds > 0 else math.inf
