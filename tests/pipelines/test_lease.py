"""One run of a model name at a time over all machines, and which run was killed, as the store itself tells."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.interchange.errors import BadInput
from pipelines import lease as leases
from pipelines import run_list, upkeep
from pipelines.lease import SAID, holder, lease
from pipelines.status import status
from pipelines.store import Store, open_store

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pipelines.lease import lease
from pipelines.store import open_store
store = open_store(sys.argv[1])
with lease(store, "parts", "r1"):
    store.put_record("runs/r1/request.json", {"model_name": "parts", "runner": "process"})
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return open_store(str(tmp_path / "store") if request.param == "disk" else request.getfixturevalue("s3_store"))


def of_another_machine(store: Store, seconds_ago: float) -> None:
    """A lease as another machine's run has left it."""
    record: dict[str, Any] = json.loads(store.blobs.get("leases/parts.json") or b"")
    when = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    store.put_record("leases/parts.json", {**record, "machine": "another", "host": "far", "when": when.isoformat()})


def refused(store: Store, run_id: str) -> str:
    with pytest.raises(BadInput) as refusal, lease(store, "parts", run_id):
        raise AssertionError("two at once")
    return str(refusal.value)


NO_TIME = {**dict.fromkeys(SAID, "x"), "ended": False}


@pytest.mark.parametrize("content", [b'{"run_id": ', b"[]", b"{}", b'{"ended": false}', json.dumps(NO_TIME).encode()])
def test_a_damaged_lease_is_nobodys(store: Store, content: bytes) -> None:
    store.blobs.put("leases/parts.json", content)
    assert holder(store, "parts") is None
    with lease(store, "parts", "r1"):
        assert (holder(store, "parts") or {})["run_id"] == "r1"


def test_a_killed_run_is_told_at_once_on_its_own_machine(store: Store) -> None:
    command = [sys.executable, "-c", HOLD, store.uri]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdout.readline() == "held\n"
        assert f"run r1, host {os.uname().nodename}, process {run.pid}" in refused(store, "r2")
        with lease(store, "another", "r2"):
            pass
        assert [one["verdict"] for one in run_list.runs(store, None, 0)] == ["unfinished"]
        assert status(store, "r1")["verdict"] == "unfinished"
        with pytest.raises(BadInput, match=r"a run is under way in .*run r1"):
            upkeep.clear(store, 1)
        run.kill()
    assert holder(store, "parts") is None
    [killed] = run_list.runs(store, None, 0)
    assert killed["verdict"] == status(store, "r1")["verdict"] == "killed"
    assert "without a word" in killed["reasons"][0]
    store.put_record("runs/r1/summary.json", {"verdict": "keep", "model_name": "parts", "reasons": ["late"]})
    assert [one["verdict"] for one in run_list.runs(store, None, 0)] == ["keep"]
    with lease(store, "parts", "r2"):
        assert (holder(store, "parts") or {})["run_id"] == "r2"
    assert holder(store, "parts") is None
    upkeep.clear(store, 1)


def test_another_machines_run_counts_until_it_was_silent_for_long(store: Store) -> None:
    with lease(store, "parts", "r1"):
        pass
    store.put_record("leases/parts.json", {**(store.record("leases/parts.json") or {}), "ended": False})
    of_another_machine(store, seconds_ago=leases.EXPIRES_S - 20)
    assert "host far" in refused(store, "r2")
    of_another_machine(store, seconds_ago=leases.EXPIRES_S + 1)
    with lease(store, "parts", "r2"):
        pass


def test_of_many_that_ask_at_once_one_gets_the_lease(store: Store) -> None:
    of_all, start, go_on = list[str](), threading.Barrier(6), threading.Event()

    def ask(run_id: str) -> None:
        own = open_store(store.uri)
        start.wait()
        try:
            with lease(own, "parts", run_id):
                of_all.append(run_id)
                go_on.wait(20)
        except BadInput:
            of_all.append(f"{run_id} refused")

    threads = [threading.Thread(target=ask, args=(f"r{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    while len(of_all) < 6 and time.monotonic() < until:
        time.sleep(0.02)
    go_on.set()
    for thread in threads:
        thread.join()
    assert sum("refused" not in one for one in of_all) == 1 and len(of_all) == 6


def test_a_lease_is_kept_alive_and_a_loss_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leases, "EVERY_S", 0.05)

    def until(wanted: str) -> None:
        end = time.monotonic() + 10
        while wanted not in f"{(store.record('leases/parts.json') or {})['when']} {caplog.text}":
            assert time.monotonic() < end
            time.sleep(0.02)

    with lease(store, "parts", "r1"):
        store.put_record("leases/parts.json", {**(store.record("leases/parts.json") or {}), "when": "long ago"})
        until("20")  # A year: another beat.
        store.put_record("leases/parts.json", {**(store.record("leases/parts.json") or {}), "run_id": "r9"})
        until("another run took the lease of model 'parts'")
    assert (store.record("leases/parts.json") or {})["run_id"] == "r9"
