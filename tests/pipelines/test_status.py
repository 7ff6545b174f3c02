"""Signs of life: what a step is at can be read from the store while it works, and a silent one is called so."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.interchange import heartbeat
from components.interchange.blobs import open_blobs
from components.interchange.errors import BadInput
from components.interchange.heartbeat import beating, heartbeat_prefix
from components.interchange.progress import progress
from pipelines.cli import app
from pipelines.status import lines, status
from pipelines.store import open_store


def shown(store: str) -> dict[str, object]:
    [step] = status(open_store(store), "r1")["steps"] or [{"state": ""}]
    return dict(step)


def waited(store: str, state: str) -> dict[str, object]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        step = shown(store)
        if step["state"] == state:
            return step
        time.sleep(0.02)
    raise AssertionError(f"never {state}")


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    uri = str(tmp_path / "store") if request.param == "disk" else str(request.getfixturevalue("s3_store"))
    open_blobs(uri).put("runs/r1/request.json", b'{"model_name": "parts"}')
    return uri


NO_TIME = b'{"step": "gate", "state": "done", "when": "yesterday"}'
NO_COUNT = b'{"step": "gate", "state": "at work", "when": "2026-01-01T00:00:00+00:00", "label": "images"}'


def test_a_long_loop_can_be_watched(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.0)
    with beating(open_blobs(store).put, "r1", "finetune"):
        for _ in progress(
            range(1000), "epoch 1", unit=" batches"
        ):  # A beat that finds the last one at work is left out.
            time.sleep(0.05)
            if (step := shown(store))["state"] == "at work":
                break
        assert (step["label"], step["total"], step["unit"]) == ("epoch 1", 1000, "batches")
        assert 0 <= int(str(step["done"])) < 1000
        told = CliRunner().invoke(app, ["status", "--store", store]).stdout
        assert "r1 parts: unfinished" in told and "finetune" in told
    assert waited(store, "done")["step"] == "finetune"


def test_a_step_that_fails_says_so_and_one_that_is_gone_is_silent(store: str) -> None:
    with pytest.raises(ZeroDivisionError), beating(open_blobs(store).put, "r1", "ingest"):
        raise ZeroDivisionError
    assert waited(store, "failed")["step"] == "ingest"
    with pytest.raises(SystemExit), beating(open_blobs(store).put, "r1", "ingest"):
        raise SystemExit(143)  # What SIGTERM becomes.
    assert waited(store, "interrupted")["step"] == "ingest"
    gone = {"step": "ingest", "state": "at work", "when": "2026-01-01T00:00:00+00:00"}
    open_blobs(store).put(f"{heartbeat_prefix('r1')}ingest.json", json.dumps(gone).encode())
    for damaged in (b'{"step": ', b"[]", b'{"step": "gate"}', NO_TIME, NO_COUNT):  # A line less, and no traceback.
        open_blobs(store).put(f"{heartbeat_prefix('r1')}gate.json", damaged)
        assert waited(store, "silent")["step"] == "ingest"


@pytest.mark.parametrize(
    ("after_s", "words"), [(-130, "(2 min ago)"), (0.5, "(0 s ago)"), (3725, "(1 h 2 min in the future: two clocks ")]
)
def test_how_long_ago_is_told_and_a_clock_that_is_ahead(tmp_path: Path, after_s: float, words: str) -> None:
    store = open_store(str(tmp_path))
    store.put_record("runs/r1/request.json", {"model_name": "parts"})
    when = datetime.now(UTC) + timedelta(seconds=after_s)
    store.put_record(f"{heartbeat_prefix('r1')}gate.json", {"step": "gate", "state": "done", "when": when.isoformat()})
    assert words in lines(status(store, "r1"))[1]


def test_beats_are_few_and_a_store_that_refuses_stops_nothing() -> None:
    beats = []

    def put(key: str, data: bytes) -> None:
        beats.append(key)
        raise BadInput("no permission")

    with beating(put, "r1", "latency"):
        assert list(progress(range(10_000), "runs")) == list(range(10_000))
    assert beats == [f"{heartbeat_prefix('r1')}latency.json"] * 2  # The first and the last.


def test_an_unknown_run_is_refused(store: str) -> None:
    with pytest.raises(BadInput, match=r"no run 'r2'\. Close: r1"):
        status(open_store(store), "r2")
