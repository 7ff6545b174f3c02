"""Signs of life of a step at work, in the store: `graft status` reads them, of local and of cluster runs alike.

runs/<run_id>/heartbeats/<step>.json   what the step is at: label, done, total, unit, rate, seconds left, when;
of one that failed why, in words
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from components.interchange.errors import BadInput, in_words, on_one_line

Put = Callable[[str, bytes], None]
EVERY_S = 5.0
_now: "Heart | None" = None


def heartbeat_prefix(run_id: str) -> str:
    """Where the signs of life of a run lie."""
    return f"runs/{run_id}/heartbeats/"


class Heart:
    """Beats of one step of a run, written by a thread of their own: a slow store costs the step nothing."""

    def __init__(self, put: Put, run_id: str, step: str) -> None:
        self.put, self.key, self.step = put, f"{heartbeat_prefix(run_id)}{step}.json", step
        self._due = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heartbeat")
        self._writing: Future[None] | None = None

    def beat(self, state: str, **what: Any) -> None:
        """Write what the step is at, unless the last beat is young or still being written."""
        busy = self._writing is not None and not self._writing.done()
        if busy or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY_S
        self._writing = self._thread.submit(self._write, {"step": self.step, "state": state, **what})

    def end(self, state: str, **what: Any) -> None:
        """The last beat."""
        self._thread.submit(self._write, {"step": self.step, "state": state, **what})
        self._thread.shutdown()

    def _write(self, what: dict[str, Any]) -> None:
        with contextlib.suppress(BadInput):  # A store that is down for a while stops no work.
            self.put(self.key, json.dumps({**what, "when": datetime.now(UTC).isoformat()}).encode())


@contextlib.contextmanager
def beating(put: Put | None, run_id: str | None, step: str) -> Iterator[None]:
    """Let the long loops of a step beat, where a run and a store to `put` into are known."""
    global _now
    if put is None or run_id is None:
        yield
        return
    _now = Heart(put, run_id, step)
    _now.beat("started")
    last: dict[str, Any] = {"state": "failed"}
    try:
        yield
        last = {"state": "done"}
    except (KeyboardInterrupt, SystemExit):
        last = {"state": "interrupted"}
        raise
    except Exception as error:
        last |= {"why": in_words(error) or on_one_line(f"{type(error).__name__}: {error}")}
        raise
    finally:
        heart, _now = _now, None
        heart.end(**last)


def beat(label: str, done: int, total: int | None, unit: str, started: float) -> None:
    """Tell how far a loop is that began at `started` (`time.monotonic`); cheap enough for every turn."""
    if _now is None or time.monotonic() < _now._due:
        return
    rate = done / max(time.monotonic() - started, 1e-9)
    left_s = None if total is None or not rate else round((total - done) / rate, 1)
    _now.beat(
        "at work", label=label, done=done, total=total, unit=unit.strip(), rate=round(rate, 3), seconds_left=left_s
    )
