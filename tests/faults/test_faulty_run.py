"""A whole run over a network and a store on a bad day: done after retries, or one readable error and nothing half."""

import random
import threading
from pathlib import Path

import pytest

from components.interchange.champion import read_pointer
from pipelines import upkeep
from pipelines.steps import STEPS
from pipelines.store import Store
from tests.e2e.conftest import Run
from tests.faults.test_faulty_storage import behind, halves
from tests.faults.test_kills import BY_CONTENT
from tests.faulty_s3 import LASTING, PASSING, Fault, FaultyS3, at_random
from tests.s3_server import S3Server

AT_ONCE = tuple(set(PASSING) - {"time-out"})  # A time-out takes a process of its own a minute to notice.
WORDS = {
    "expired": "does not accept the credentials (ExpiredToken)",
    "no bucket": "there is no such bucket",
    "no permission": "no permission for s3:",
}


@pytest.mark.slow
def test_a_whole_run_gets_done_through_faults(
    store: Store,
    proxy: FaultyS3,
    s3_server: S3Server,
    tiny_run: Run,
    tiny_source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every tenth request fails, in seven ways; what comes out is what comes out on a disk without any."""
    blobs = behind(store, s3_server, monkeypatch)
    plain = tiny_run(tiny_source, tmp_path / "store")
    assert plain.code == 0, plain.err
    proxy.choose = at_random(0.1, seed=3, faults=AT_ONCE)
    ended = tiny_run(tiny_source, store.uri)
    refused = 0
    while ended.code == 2 and refused < 5:
        assert "Traceback" not in ended.err and "s3://" in ended.err
        assert halves(blobs) == []
        refused += 1
        ended = tiny_run(tiny_source, store.uri)
    assert ended.code == 0, ended.err
    print(f"{sum(proxy.injected.values())} faults, {dict(proxy.injected)}; refused {refused} times")
    proxy.choose = lambda method, path: None
    assert sum(proxy.injected.values()) >= 10 and refused <= 2
    assert halves(blobs) == [] and upkeep.faults(store) == {}
    made, expected = ended.made(store.uri), plain.made(tmp_path / "store")
    assert {name: made[name] for name in BY_CONTENT} == {name: expected[name] for name in BY_CONTENT}
    pointer = read_pointer(blobs, "tiny")
    assert pointer is not None and pointer[0].digest == made["export_onnx.onnx_model"] and pointer[0].history == []


class FromThenOn:
    """One lasting fault, some writes after a step's first sign of life."""

    def __init__(self, fault: Fault, step: str, writes: int) -> None:
        self.fault, self.sign, self.left, self.counting = fault, f"/heartbeats/{step}.json", writes, threading.Lock()
        self.begun = False

    def __call__(self, method: str, path: str) -> Fault | None:
        with self.counting:
            self.begun |= self.sign in path and method == "PUT"
            self.left -= self.begun and method == "PUT"
            return self.fault if self.left < 0 else None


@pytest.mark.slow
def test_what_lasts_ends_a_run_with_one_readable_error_in_whatever_step_it_begins(
    store: Store,
    proxy: FaultyS3,
    s3_server: S3Server,
    tiny_run: Run,
    tiny_source: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Credentials that expire, a bucket or a permission that goes, in every step; the same command goes on from it."""
    blobs, rng = behind(store, s3_server, monkeypatch), random.Random(11)
    for turn, step in enumerate(STEPS):
        fault: Fault = LASTING[turn % len(LASTING)]  # type: ignore[assignment]
        proxy.choose = FromThenOn(fault, step.name, rng.randint(0, 3))
        ended = tiny_run(tiny_source, store.uri)
        assert ended.code == 2, ended.err
        told = [line for line in ended.err.splitlines() if WORDS[fault] in line]
        assert len(told) == 1 and "s3://" in told[0] and "Traceback" not in ended.err, ended.err
        assert halves(blobs) == []
        assert len(blobs.list("keys/")) == turn  # Those before, none of them lost.
    proxy.choose = lambda method, path: None
    ended = tiny_run(tiny_source, store.uri)
    assert ended.code == 0 and ended.ran == {"promote"}, ended.err
    assert halves(blobs) == [] and upkeep.faults(store) == {}
