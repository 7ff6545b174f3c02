"""The summary of a run on a cluster: the reports decide how it ended, whatever state Kubeflow gives."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.interchange.artifact import write_card
from components.interchange.blobs import Blobs, open_blobs
from components.interchange.cli import main
from components.interchange.run_reports import keep_report
from components.record.spec import Record

RUNNING = '{"state": "RUNNING", "error": {}}'
FAILED = '{"state": "FAILED", "error": {"message": "exit status 1"}}'


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return open_blobs(str(tmp_path / "store"))


def reported(blobs: Blobs, tmp_path: Path, started: float, step: str, **details: Any) -> None:
    """A step of run r1 has kept its report."""
    folder = tmp_path / step
    write_card(folder, "report", {"step": step, "spec": {}, "inputs": {}, "rows": [], "details": details})
    (folder / "run.json").write_text(json.dumps({"started": started, "seconds": 2.0}))
    keep_report(blobs, "r1", step, folder)


def summary(blobs: Blobs, status: str) -> dict[str, Any]:
    assert main(Record, ["--status", status, "--store", blobs.uri, "--run-id", "r1", "--model-name", "parts"]) == 0
    return dict(json.loads(blobs.get("runs/r1/summary.json") or b""))


def test_a_run_with_a_verdict_has_ended_though_its_state_says_running(blobs: Blobs, tmp_path: Path) -> None:
    reported(blobs, tmp_path, 1.0, "gate", verdict="keep", reasons=["no better"])
    found = summary(blobs, RUNNING)

    assert (found["verdict"], found["reasons"], found["model_name"]) == ("keep", ["no better"], "parts")
    assert found["seconds"]["gate"] == 2.0


def test_a_promotion_that_did_not_happen_is_a_failure(blobs: Blobs, tmp_path: Path) -> None:
    reported(blobs, tmp_path, 2.0, "gate", verdict="promote", reasons=["better"])
    reported(blobs, tmp_path, 1.0, "ingest")
    found = summary(blobs, FAILED)

    assert found["verdict"] == "failed"
    assert found["reasons"] == [
        "the run did not come to its end; steps with a report: ingest, gate",
        "Kubeflow says FAILED: exit status 1",
    ]
    reported(blobs, tmp_path, 3.0, "promote")
    assert summary(blobs, RUNNING)["verdict"] == "promote"


@pytest.mark.parametrize("status", ["", "null", "{}", "[1]", "not JSON"])
def test_a_state_that_nobody_expected_is_no_reason_to_lose_the_record(blobs: Blobs, status: str) -> None:
    assert summary(blobs, status)["verdict"] == "failed"


def test_a_run_without_news_is_unchanged(blobs: Blobs, tmp_path: Path) -> None:
    reported(blobs, tmp_path, 1.0, "changes", word="unchanged", changed=[])
    assert summary(blobs, RUNNING)["verdict"] == "unchanged"
