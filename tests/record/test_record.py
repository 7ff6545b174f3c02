"""The summary and the page of a run on a cluster: the reports decide how it ended, whatever state Kubeflow gives."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from components.ingest.spec import Ingest
from components.interchange.artifact import write_card
from components.interchange.blobs import Blobs, open_blobs
from components.interchange.cli import main
from components.interchange.run_reports import keep_report
from components.record.spec import Record

RUNNING = '{"state": "RUNNING", "error": {}}'
SPLITS = ("train", "val", "test")
CHECKPOINT = "checkpoints/r1/training.safetensors"
FAILED = '{"state": "FAILED", "error": {"message": "exit status 1"}}'


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return open_blobs(str(tmp_path / "store"))


def reported(blobs: Blobs, tmp_path: Path, started: float, step: str, rows: Sequence[Any] = (), **details: Any) -> None:
    """A step of run r1 has kept its report."""
    folder = tmp_path / step
    write_card(folder, "report", {"step": step, "spec": {}, "inputs": {}, "rows": list(rows), "details": details})
    (folder / "run.json").write_text(json.dumps({"started": started, "seconds": 2.0}))
    keep_report(blobs, "r1", step, folder)


def summary(blobs: Blobs, status: str) -> dict[str, Any]:
    assert main(Record, ["--status", status, "--store", blobs.uri, "--run-id", "r1", "--model-name", "parts"]) == 0
    return dict(json.loads(blobs.get("runs/r1/summary.json") or b""))


def test_a_run_with_a_verdict_has_ended_though_its_state_says_running(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put(CHECKPOINT, b"weights")
    reported(blobs, tmp_path, 1.0, "gate", verdict="keep", reasons=["no better"], findings=[])
    found = summary(blobs, RUNNING)

    assert (found["verdict"], found["reasons"], found["model_name"]) == ("keep", ["no better"], "parts")
    assert blobs.get(CHECKPOINT) is None
    assert found["seconds"]["gate"] == 2.0


def test_a_promotion_that_did_not_happen_is_a_failure(blobs: Blobs, tmp_path: Path) -> None:
    reported(blobs, tmp_path, 2.0, "gate", verdict="promote", reasons=["better"], findings=[])
    reported(blobs, tmp_path, 1.0, "ingest")
    blobs.put(CHECKPOINT, b"weights")
    found = summary(blobs, FAILED)

    assert found["verdict"] == "failed"
    assert blobs.get(CHECKPOINT) == b"weights"
    assert found["reasons"] == [
        "the run did not come to its end; steps with a report: ingest, gate",
        "Kubeflow says FAILED: exit status 1",
    ]
    reported(blobs, tmp_path, 3.0, "promote")
    assert summary(blobs, RUNNING)["verdict"] == "promote"


def test_a_step_that_failed_gives_its_reason(blobs: Blobs, tmp_path: Path) -> None:
    lone, out = tmp_path / "source", [f"--{port}={tmp_path / port}" for port in ("dataset", "report")]
    (lone / "only").mkdir(parents=True)
    (lone / "only" / "a.png").write_bytes(b"no image")
    assert main(Ingest, [f"--source={lone}", *out, "--store", blobs.uri, "--run-id", "r1"]) == 2
    for last in (b"[", b"[]", b'{"step": "gate", "state": "done"}'):
        blobs.put("runs/r1/heartbeats/gate.json", last)
        reasons = summary(blobs, FAILED)["reasons"]
        assert reasons[0].startswith(f"ingest failed: {lone} has one class (only)") and len(reasons) == 3


@pytest.mark.parametrize("status", ["", "null", "{}", "[1]", '{"state": "FAILED", "error": {"mess'])
def test_a_state_that_nobody_expected_is_no_reason_to_lose_the_record(blobs: Blobs, status: str) -> None:
    assert summary(blobs, status)["verdict"] == "failed"


def test_a_word_in_the_place_of_a_state_is_refused(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Record, ["--status", "foo", "--store", blobs.uri, "--run-id", "r1"]) == 2
    assert "--status: expected Kubeflow's JSON object" in capsys.readouterr().err
    assert blobs.list() == []


def test_a_run_without_news_is_unchanged(blobs: Blobs, tmp_path: Path) -> None:
    reported(blobs, tmp_path, 1.0, "changes", word="unchanged", changed=[])
    assert summary(blobs, RUNNING)["verdict"] == "unchanged"


def test_every_run_has_a_page_beside_its_summary(blobs: Blobs, tmp_path: Path) -> None:
    """One that failed before any step was done, and one with data and a verdict."""
    early = summary(blobs, FAILED)
    page = (blobs.get("runs/r1/report.html") or b"").decode()
    assert "Kubeflow says FAILED: exit status 1" in page
    assert "<h2>Data</h2>" not in page

    images = [{"name": "images", "value": 5 if split == "train" else 2, "of": split} for split in SPLITS]
    reported(blobs, tmp_path, 1.0, "ingest", rows=images)
    (tmp_path / "ingest" / "report.html").write_text("<p>of one step</p>")
    keep_report(blobs, "r1", "ingest", tmp_path / "ingest")
    findings = [{"outcome": "violated", "words": "p99 is 31 ms, over its budget of 25 ms"}]
    reported(blobs, tmp_path, 2.0, "gate", verdict="keep", reasons=["too slow"], findings=findings)
    found = summary(blobs, RUNNING)
    page = (blobs.get("runs/r1/report.html") or b"").decode()

    assert early["report"] == found["report"] == f"{blobs.uri}/runs/r1/report.html"
    assert page.startswith("<!DOCTYPE html>")
    assert "The new model does not go into service." in page
    assert "p99 is 31 ms, over its budget of 25 ms" in page
    assert "reports/ingest/report.html" in page
    assert "reports/gate/report.html" not in page  # It has none.
    assert blobs.get("runs/r1/reports/ingest/report.html") == b"<p>of one step</p>"
