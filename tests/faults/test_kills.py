"""SIGKILL at any moment: the same command goes on after the last step that was done, and ends with the same bytes."""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from components.interchange.blobs import open_blobs
from pipelines import run_list, upkeep
from pipelines.store import open_store
from tests.e2e.conftest import GRAFT, Run, Words, cold_graft

BY_CONTENT = {"ingest.dataset", "feature_extraction.classifier", "finetune.classifier"}
BY_CONTENT |= {"evaluate.selected", "evaluate.report", "export_onnx.onnx_model"}
# How the runs of a store run, and how much longer than plainly.
PLAIN = ({"engine": "none", "runner": "inline"}, 1.0)
MOST_KILLS = 8  # Of one run, so that thirty fall into runs of every kind on a slow machine too.
HOW = (PLAIN, ({"engine": "none", "runner": "process"}, 2.0), PLAIN, ({"engine": "prefect", "runner": "inline"}, 1.5))


def descendants(pid: int) -> list[int]:
    """Everything a process has started, and what those have."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = children.get(pid, [])
    return [*found, *(other for child in found for other in descendants(child))]


def killed_after(command: list[str], seconds: float) -> bool:
    """Run a command and kill it, and all that it has started, after so long; False where it had ended before."""
    run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        run.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        for pid in [run.pid, *descendants(run.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        run.wait()
        return True


def done(store: Path) -> dict[str, Any]:
    """The steps whose keys are in the store, with the run that made each."""
    found = {path.stem: json.loads(path.read_text()) for path in (store / "keys").glob("*.json")}
    return {key: record["run_id"] for key, record in found.items()}


def killed_and_resumed(
    tiny_run: Run, words: Words, source: Path, folder: Path, kills: int, rng: random.Random
) -> dict[str, list[str]]:
    """Undisturbed once; then on new stores, killed again and again at random moments, then left to end.

    What was done when each kill came: numbers of steps, by store.
    """
    started = time.monotonic()
    undisturbed = cold_graft(*words(source, folder / "undisturbed"))
    whole_s = time.monotonic() - started
    assert undisturbed.code == 0, undisturbed.err
    expected = {name: undisturbed.made(folder / "undisturbed")[name] for name in BY_CONTENT}
    moments: dict[str, list[str]] = {}
    while (left := kills - sum(map(len, moments.values()))) > 0:
        store, how, slower = folder / f"store {len(moments)}", *HOW[len(moments) % len(HOW)]
        found = moments[f"{len(moments)} {how['engine']} {how['runner']}"] = []
        finished: dict[str, Any] = {}
        command = [GRAFT, *words(source, store, **how)]
        while len(found) < min(left, MOST_KILLS) and killed_after(command, rng.uniform(0.5, 0.9 * slower * whole_s)):
            now = done(store)
            assert finished.items() <= now.items(), "a finished step ran again"
            finished = now
            found.append(f"after {len(finished)} steps")
        ended = tiny_run(source, store, **how)
        assert ended.code == 0, ended.err
        assert finished.items() <= done(store).items(), "a finished step ran again"
        assert {name: ended.made(store)[name] for name in BY_CONTENT} == expected
        opened = open_store(str(store))
        assert upkeep.faults(opened) == {}
        assert not list((store / "tmp").iterdir())
        verdicts = Counter(run["verdict"] for run in run_list.runs(opened, None, 0))
        assert verdicts.keys() <= {"killed", "promote", "unchanged"} and verdicts["killed"] <= len(found)
        pointer = json.loads(open_blobs(str(store)).get("champions/tiny.json") or b"")
        assert pointer["digest"] == expected["export_onnx.onnx_model"] and pointer["history"] == []
        print(f"{time.monotonic() - started:.0f} s: {store.name}, {how}: {found}", flush=True)
    return moments


@pytest.mark.slow
def test_thirty_kills(tiny_run: Run, tiny_words: Words, tiny_source: Path, tmp_path: Path) -> None:
    kills = int(os.environ.get("GRAFT_KILLS", "30"))
    moments = killed_and_resumed(tiny_run, tiny_words, tiny_source, tmp_path, kills, random.Random(7))
    print(f"{sum(map(len, moments.values()))} kills of {len(moments)} runs: {moments}")
