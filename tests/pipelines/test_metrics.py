"""`graft run --metrics`: what Prometheus reads of the last run, whole files only, and what is refused beforehand."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from components.interchange.errors import BadInput
from components.interchange.summary import Ending, summary_of
from pipelines import metrics
from pipelines.cli import app

NAME = 'parts "new"'
SUMMARY: dict[str, Any] = {
    "run_id": "r1",
    "model_name": NAME,
    "verdict": "keep",
    "test": {"baseline_top1": 0.81, "candidate_top1": 0.93, "difference": 0.12, "interval": [0.08, 0.16], "n": 400},
    "onnx": {"opset": 17, "parity": {"samples": 256, "flips": 0, "max_abs_diff": 1e-4}},
    "latency": {"provider": "CPUExecutionProvider", "batch": 1, "p50_ms": 7.0, "p99_ms": 9.0, "n": 1000},
    "seconds": {"ingest": 4.5, "finetune": 0.0, "total": 61.25},
}


def read(path: Path) -> dict[tuple[str, ...], float]:
    """Name and labels' values (but the model name) -> value, as Prometheus' own parser reads the file."""
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.documentation and family.type == "gauge"
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("model_name") == NAME
            found[(sample.name, *(labels[label] for label in sorted(labels)))] = sample.value
    return found


def test_every_figure_of_a_run_is_there_with_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "graft.prom"
    metrics.check(path)
    metrics.write(path, SUMMARY)
    found = read(path)
    assert found.pop(("graft_run_end_timestamp_seconds",)) > 1.7e9
    batch = ("1", "CPUExecutionProvider")
    assert found == {
        ("graft_run_duration_seconds",): 61.25,
        ("graft_step_duration_seconds", "ingest"): 4.5,
        ("graft_step_duration_seconds", "finetune"): 0.0,
        ("graft_run_verdict", "promote"): 0.0,
        ("graft_run_verdict", "keep"): 1.0,
        ("graft_run_verdict", "inconclusive"): 0.0,
        ("graft_run_verdict", "unchanged"): 0.0,
        ("graft_run_verdict", "failed"): 0.0,
        ("graft_run_verdict", "interrupted"): 0.0,
        ("graft_test_top1_ratio", "baseline"): 0.81,
        ("graft_test_top1_ratio", "candidate"): 0.93,
        ("graft_test_top1_difference_ratio",): 0.12,
        ("graft_test_top1_difference_bound_ratio", "low"): 0.08,
        ("graft_test_top1_difference_bound_ratio", "high"): 0.16,
        ("graft_test_images",): 400.0,
        ("graft_parity_flips",): 0.0,
        ("graft_latency_seconds", *batch, "0.5"): 0.007,
        ("graft_latency_seconds", *batch, "0.99"): 0.009,
    }


def test_a_failed_run_replaces_the_figures_of_the_one_before_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "graft.prom"
    metrics.write(path, SUMMARY)
    failed = summary_of(
        "r2", {}, model_name="parts", model=None, page=None, seconds={}, ending=Ending("failed", ["no images"])
    )
    metrics.write(path, {**failed, "model_name": NAME})
    found = read(path)
    assert found[("graft_run_verdict", "failed")] == 1.0
    assert {name for name, *_ in found} == {"graft_run_end_timestamp_seconds", "graft_run_verdict"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_changes_no_runs_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "graft.prom").mkdir()
    metrics.write(tmp_path / "graft.prom", SUMMARY)
    assert "Is a directory; the run itself is not touched by it" in caplog.text


def test_what_would_never_be_read_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ends in \.prom"):
        metrics.check(tmp_path / "graft.txt")
    with pytest.raises(BadInput, match="is no folder"):
        metrics.check(tmp_path / "none" / "graft.prom")


def test_the_command_writes_it_for_a_run_that_fails(tmp_path: Path) -> None:
    words = ["run", "--source", str(tmp_path / "nowhere"), "--store", str(tmp_path / "store"), "--model-name", "parts"]
    done = CliRunner().invoke(app, [*words, "--metrics", str(tmp_path / "graft.prom")])
    assert done.exit_code == 2
    assert 'graft_run_verdict{model_name="parts",verdict="failed"} 1.0' in (tmp_path / "graft.prom").read_text()
    assert CliRunner().invoke(app, [*words, "--metrics", "graft.json"]).exit_code == 2
