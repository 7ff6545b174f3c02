"""For how much of a time something waited for a core: other work on the machine, which no timing of one's own shows."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PRESSURE = Path("/proc/pressure/cpu")  # Linux's pressure stall information; in a container that of its host.


@dataclass
class Waiting:
    """The share of a time in which something waited for a core; None where the system does not say."""

    share: float | None = None


@contextmanager
def watched(source: Path = PRESSURE) -> Iterator[Waiting]:
    """What is done inside is watched; the share stands there afterwards."""
    found, before, started = Waiting(), _waited_s(source), time.monotonic()
    yield found
    after, seconds = _waited_s(source), time.monotonic() - started
    if before is not None and after is not None and seconds > 0:
        found.share = min(1.0, (after - before) / seconds)


def _waited_s(source: Path) -> float | None:
    """Seconds since the machine started in which at least one task waited for a core."""
    try:
        total = re.search(r"^some .*total=(\d+)", source.read_text(), re.MULTILINE)
    except OSError:  # Not Linux, an old kernel, or one that was started without it.
        return None
    return int(total[1]) / 1e6 if total else None
