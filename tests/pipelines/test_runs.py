"""`graft runs`: newest first, every verdict, and no more read than is shown."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.run_list import runs
from pipelines.run_options import RunOptions
from pipelines.runner import StepFailed
from pipelines.session import new_run_id, request_for, run
from pipelines.store import open_store

FINISHED: dict[str, Any] = {
    "verdict": "promote",
    "reasons": ["because"],
    "selected": "finetune",
    "test": {"baseline_top1": 0.81, "candidate_top1": 0.93, "difference": 0.12, "interval": [0.08, 0.16], "n": 400},
    "latency": {"provider": "cpu", "batch": 1, "p50_ms": 7.0, "p99_ms": 9.0, "n": 1000},
    "seconds": {"total": 61.25},
}


def record(store: Path, run_id: str, **summary: Any) -> None:
    (store / "runs" / run_id).mkdir(parents=True)
    (store / "runs" / run_id / "summary.json").write_text(json.dumps({"run_id": run_id, **summary}))


def test_a_run_is_called_by_the_same_time_in_every_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "JST-9")
        time.tzset()
        called = new_run_id()
    time.tzset()
    when = datetime.strptime(called[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert before <= when <= datetime.now(UTC)


def test_who_may_only_read_sees_the_runs_as_well(tmp_path: Path) -> None:
    record(tmp_path, "20260101-000000-aaaa", model_name="parts", **FINISHED)
    (tmp_path / "index").write_text("No folder, so that no list of runs can be kept in it.")
    assert [one["run_id"] for one in runs(open_store(str(tmp_path)), None, 0)] == ["20260101-000000-aaaa"]


def test_every_kind_of_run_is_listed_newest_first(tmp_path: Path) -> None:
    record(tmp_path, "20260101-000000-aaaa", model_name="parts", **FINISHED)
    record(tmp_path, "20260103-000000-aaaa", model_name="parts", verdict="failed", reasons=["x"], seconds={"total": 2})
    record(tmp_path, "20260102-000000-aaaa", model_name="other", **FINISHED | {"verdict": "keep"})
    (tmp_path / "runs" / "20260104-000000-aaaa").mkdir()
    (tmp_path / "runs" / "20260104-000000-aaaa" / "request.json").write_text('{"model_name": "parts"}')

    done = CliRunner().invoke(app, ["runs", "--store", str(tmp_path)])

    assert [line.split() for line in done.stdout.splitlines()] == [
        ["run", "model", "verdict", "baseline", "candidate", "p99_ms", "seconds"],
        ["20260104-000000-aaaa", "parts", "unfinished"],
        ["20260103-000000-aaaa", "parts", "failed", "2"],
        ["20260102-000000-aaaa", "other", "keep", "0.8100", "0.9300", "9.00", "61.25"],
        ["20260101-000000-aaaa", "parts", "promote", "0.8100", "0.9300", "9.00", "61.25"],
    ]
    done = CliRunner().invoke(
        app, ["runs", "--store", str(tmp_path), "--model-name", "parts", "--limit", "2", "--json"]
    )
    assert [(found["run_id"][:8], found["reasons"]) for found in json.loads(done.stdout)] == [
        ("20260104", []),
        ("20260103", ["x"]),
    ]


def test_runs_that_a_cluster_has_named_stand_where_their_time_is(tmp_path: Path) -> None:
    def stand() -> list[str]:
        return [one["run_id"][:4] for one in runs(open_store(str(tmp_path)), None, 0)]

    record(tmp_path, "20260102-000000-aaaa", model_name="parts", **FINISHED)
    for run_id, day in (("f0e1", 1), ("0a1b", 3), ("7c2d", 2)):
        record(tmp_path, f"{run_id}-5e1f-4c8e-9f6a-0123456789ab", model_name="parts", **FINISHED)
        written = datetime(2026, 1, day, 12, tzinfo=UTC).timestamp()
        folder = next((tmp_path / "runs").glob(f"{run_id}-*"))
        (folder / "index.html").touch()  # Later than the summary: what was written first counts.
        os.utime(folder / "summary.json", (written, written))
    assert stand() == ["0a1b", "7c2d", "2026", "f0e1"]
    for path in (tmp_path / "runs").glob("*/summary.json"):
        path.touch()
    assert stand() == ["0a1b", "7c2d", "2026", "f0e1"]  # Known from before, and not asked for again.


def test_a_few_of_many_runs_take_far_less_than_all_of_them(tmp_path: Path) -> None:
    for number in range(2_000):
        record(tmp_path, f"20260101-{number:06d}-aaaa", model_name="parts", **FINISHED)

    started = time.perf_counter()
    assert len(runs(open_store(str(tmp_path)), None, 0)) == 2_000
    all_s = time.perf_counter() - started
    few_s = all_s
    for _ in range(3):  # The least of them: other work may stop any one.
        started = time.perf_counter()
        assert [found["run_id"][9:15] for found in runs(open_store(str(tmp_path)), "parts", 2)] == ["001999", "001998"]
        few_s = min(few_s, time.perf_counter() - started)

    assert all_s < 2  # Two cores that others use too; 0.1 s on their own.
    assert few_s < all_s / 4


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('{"run_id"', "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ("[" * 100_000, "expected a JSON object"),
        ('{"model_name": "parts"}', "verdict (field required)"),
        ('{"model_name": 5, "verdict": "keep", "latency": {"p99_ms": "slow"}}', "model_name (input should be a valid"),
        ('{"model_name": "parts", "verdict": "keep", "test": [1]}', "test (input should be"),
    ],
)
def test_a_damaged_summary_is_told_and_costs_no_other_run_its_place(tmp_path: Path, written: str, words: str) -> None:
    record(tmp_path, "20260101-000000-aaaa", model_name="parts", **FINISHED)
    record(tmp_path, "20260102-000000-aaaa", model_name="parts", **FINISHED)
    summary = tmp_path / "runs" / "20260102-000000-aaaa" / "summary.json"
    summary.write_text(written)

    found = runs(open_store(str(tmp_path)), None, 0)
    told = CliRunner().invoke(app, ["status", "--store", str(tmp_path)])

    assert [one["verdict"] for one in found] == ["damaged", "promote"]
    assert found[0]["reasons"][0].startswith(f"{summary} is damaged: {words}")
    assert told.exit_code == 0 and f"damaged: {summary} is damaged" in told.stdout
    summary.write_text(json.dumps({"model_name": "parts", **FINISHED}))
    assert [one["verdict"] for one in runs(open_store(str(tmp_path)), None, 0)] == ["promote", "promote"]


def test_a_request_without_a_model_name_is_a_damaged_run_and_a_damaged_list_is_made_again(tmp_path: Path) -> None:
    record(tmp_path, "20260101-000000-aaaa", model_name="parts", **FINISHED)
    (tmp_path / "runs" / "20260102-000000-aaaa").mkdir()
    (tmp_path / "runs" / "20260102-000000-aaaa" / "request.json").write_text('{"runner": "process"}')
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "runs.json").write_text('{"runs": [1]}')
    assert [one["verdict"] for one in runs(open_store(str(tmp_path)), None, 0)] == ["damaged", "promote"]


def test_a_place_without_a_store_is_refused_and_a_store_without_runs_is_empty(tmp_path: Path) -> None:
    assert runs(open_store(str(tmp_path)), None, 20) == []
    done = CliRunner().invoke(app, ["runs", "--store", str(tmp_path / "none")])
    assert done.exit_code == 2 and "there is no such folder" in done.stderr


def test_a_run_that_fails_is_listed_with_its_model_and_duration(tmp_path: Path) -> None:
    (tmp_path / "source" / "only").mkdir(parents=True)
    (tmp_path / "source" / "only" / "a.png").write_bytes(b"no image")
    source, store = str(tmp_path / "source"), str(tmp_path / "store")
    request = request_for(RunOptions(source, store, recipe="demo", model_name="parts", runner="inline"))
    with pytest.raises(StepFailed):
        run(request, "none", lambda outcome: None, lambda planned: None)
    [found] = runs(open_store(store), "parts", 20)
    assert (found["run_id"], found["verdict"]) == (request.run_id, "failed")
    [reason] = found["reasons"]
    assert reason.startswith(f"ingest refused its input: {source} has one class (only)")
    assert found["seconds"] > 0


def test_a_run_whose_step_names_its_own_option_says_how_it_is_given_here(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "source" / label).mkdir(parents=True)
        (tmp_path / "source" / label / "a.png").write_bytes(b"no image")
    argv = ["--source", str(tmp_path / "source"), "--store", str(tmp_path / "store"), "--runner", "inline"]
    done = CliRunner().invoke(app, ["run", *argv, "--engine", "none"])
    assert done.exit_code == 2
    assert done.stderr.endswith("graft: here --max-bad-fraction is --set ingest.max-bad-fraction=VALUE\n")


def test_what_a_store_says_steers_no_terminal_and_begins_no_line(tmp_path: Path) -> None:
    """Whoever may write to a store may call things as he likes; CI systems take orders on lines of their own."""
    title, order = "\x1b]0;mine\x07", "\n::error::mine"
    hostile = FINISHED | {"verdict": f"keep{title}", "reasons": [f"because{title}{order}"]}
    record(tmp_path, "20260101-000000-aaaa", model_name=f"parts{order}", **hostile)
    for words in (["runs"], ["status"], ["status", f"x{title}"], ["champion", "show", "--model-name", order]):
        done = CliRunner().invoke(app, [*words, "--store", str(tmp_path)])
        assert "mine" in done.output
        assert "\x1b" not in done.output and "\x07" not in done.output and "\n::" not in done.output
