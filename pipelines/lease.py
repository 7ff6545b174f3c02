"""Who is at work on a model name, told in the store itself, so that every machine that uses it sees it.

leases/<model_name>.json   the run, its host and process, and when it last gave a sign of life; `ended` after its end

A lock of the operating system keeps the runs of one machine apart, at once and for certain (lock.py). A lease does it
between machines, as far as their clocks agree, and tells which run was killed. The champion does not depend on it: its
pointer is swapped by a conditional write, whoever else is at work.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from components.interchange.artifact import to_json
from components.interchange.errors import BadInput
from pipelines.store import Store, record_in

EVERY_S = 15.0
EXPIRES_S = 90.0  # Six beats: a store that is down for a minute costs nobody the lease.
SAID = {"run_id", "model_name", "host", "machine", "pid", "process_started", "when", "ended"}
log = logging.getLogger("graft")


@contextmanager
def lease(store: Store, model_name: str, run_id: str) -> Iterator[None]:
    """Hold a model name's lease and keep it alive; BadInput while a run of another machine holds it."""
    _take(store, model_name, run_id)
    over = threading.Event()
    beats = threading.Thread(target=_beat, args=(store, model_name, run_id, over), name="lease", daemon=True)
    beats.start()
    try:
        yield
    finally:
        over.set()
        beats.join(EVERY_S)
        with contextlib.suppress(BadInput):  # The store may be what the run failed of; the lease expires.
            _renewed(store, model_name, run_id, ended=True)


def holder(store: Store, model_name: str) -> dict[str, Any] | None:
    """The lease of the run that is at work on a model name; None where none is."""
    found = store.record(_key(model_name))
    return found if found is not None and _alive(found) else None


def holders(store: Store) -> list[dict[str, Any]]:
    """The leases of all runs that are at work."""
    found = [store.record(key) for key in store.blobs.list("leases/")]
    return [one for one in found if one is not None and _alive(one)]


def told(record: Mapping[str, Any]) -> str:
    """A lease in words."""
    return f"run {record['run_id']}, host {record['host']}, process {record['pid']}, last sign of life {record['when']}"


def _take(store: Store, model_name: str, run_id: str) -> None:
    while True:
        found = store.blobs.get_with_tag(_key(model_name))
        record = record_in(found[0]) if found else None
        if record is not None and _alive(record):
            raise BadInput(
                f"another run of model {model_name!r} is under way in {store.uri} ({told(record)}). Wait for its end, "
                f"or give this one another --model-name. A run counts as dead {EXPIRES_S:.0f} s after its last sign."
            )
        if store.blobs.compare_and_swap(_key(model_name), _content(model_name, run_id), found[1] if found else None):
            return


def _beat(store: Store, model_name: str, run_id: str, over: threading.Event) -> None:
    while not over.wait(EVERY_S):
        with contextlib.suppress(BadInput):  # A store that is down for a while stops no work.
            if not _renewed(store, model_name, run_id):
                log.warning("graft: another run took the lease of model %r, as if this one were dead", model_name)
                return


def _renewed(store: Store, model_name: str, run_id: str, ended: bool = False) -> bool:
    """Write a sign of life; False where the lease is another's by now. A swap may be lost to one's own, sent twice."""
    while True:
        found = store.blobs.get_with_tag(_key(model_name))
        record = record_in(found[0]) if found else None
        if found is None or record is None or record.get("run_id") != run_id:
            return False
        if store.blobs.compare_and_swap(_key(model_name), _content(model_name, run_id, ended), found[1]):
            return True


def _content(model_name: str, run_id: str, ended: bool = False) -> bytes:
    machine, pid = _machine(), os.getpid()
    record = {"run_id": run_id, "model_name": model_name, "host": os.uname().nodename, "machine": machine, "pid": pid}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return to_json({**record, "process_started": _started(pid), "when": now, "ended": ended}).encode()


def _alive(record: Mapping[str, Any]) -> bool:
    """Whether the run of a lease is at work. On this machine its process tells, elsewhere its last sign of life.

    One that lacks what a lease says, or has no time, is nobody's: it was damaged, or written by hand.
    """
    if not record.keys() >= SAID or record["ended"]:
        return False
    try:
        if record["machine"] == _machine():
            return bool(_started(record["pid"]) == record["process_started"] is not None)
        return (datetime.now(UTC) - datetime.fromisoformat(record["when"])).total_seconds() < EXPIRES_S
    except (ValueError, TypeError):
        return False


@cache
def _machine() -> str:
    """What process ids count in: this boot of this host, and a container's own ids. Off Linux only this process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{os.uname().nodename} {os.getpid()}"


def _started(pid: int) -> str | None:
    """When a process of this machine started, in the kernel's count; None where there is none, or no such count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _key(model_name: str) -> str:
    return f"leases/{model_name}.json"
