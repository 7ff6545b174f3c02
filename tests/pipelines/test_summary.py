"""The summary of a run, from reports with figures of known value."""

from pathlib import Path
from typing import Any

import pytest

from components.interchange.artifact import write_card
from components.interchange.report import Row
from pipelines.store import Store, open_store
from pipelines.summary import build, figure
from pipelines.terminal import table

ROWS: dict[str, list[Row]] = {
    "evaluate": [
        Row(name="top1", value=0.5, of="baseline", split="val", n=20),
        Row(name="top1", value=0.81, of="baseline", split="test", n=400),
        Row(name="top1", value=0.93, of="candidate", split="test", n=400),
        Row(name="top1_difference", value=0.2, of="candidate-baseline", split="val", n=20, low=0.1, high=0.3),
        Row(name="top1_difference", value=0.12, of="candidate-baseline", split="test", n=400, low=0.08, high=0.16),
    ],
    "export_onnx": [
        Row(name="opset", value=17),
        Row(name="parity_samples", value=256),
        Row(name="flips", value=0, n=256),
        Row(name="max_abs_diff", value=2e-5),
    ],
    "latency": [
        Row(name="p50_ms", value=7.0, unit="ms", of="batch 1", n=1000),
        Row(name="p99_ms", value=9.0, unit="ms", of="batch 1", n=1000),
        Row(name="images_per_s", value=180.0, of="batch 8", n=50),
    ],
    "gate": [],
}
DETAILS: dict[str, dict[str, Any]] = {
    "evaluate": {"selected": "finetune"},
    "latency": {"provider": "CPUExecutionProvider"},
    "gate": {"verdict": "promote", "reasons": ["no champion"]},
}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Store, dict[str, dict[str, str]]]:
    store = open_store(str(tmp_path / "store"))
    outputs = {}
    for step, rows in ROWS.items():
        content = {"step": step, "spec": {}, "inputs": {}, "rows": [row.model_dump() for row in rows]}
        write_card(tmp_path / step, "report", {**content, "details": DETAILS.get(step, {})})
        (tmp_path / step / "report.html").write_text("<p>page</p>")
        outputs[step] = {"report": store.publish(tmp_path / step)}
    (tmp_path / "verdict").write_text("promote\n")
    outputs["gate"]["verdict"] = store.publish(tmp_path / "verdict")
    outputs["export_onnx"]["onnx_model"] = "abc"
    return store, outputs


def test_the_summary_says_what_the_reports_say(made: tuple[Store, dict[str, dict[str, str]]], tmp_path: Path) -> None:
    store, outputs = made
    summary = build("r1", store, outputs, {"total": 3.0, "gate": 1.0}, False)
    assert summary == {
        "run_id": "r1",
        "verdict": "promote",
        "reasons": ["no champion"],
        "selected": "finetune",
        "test": {
            "baseline_top1": 0.81,
            "candidate_top1": 0.93,
            "difference": 0.12,
            "interval": [0.08, 0.16],
            "n": 400,
        },
        "onnx": {
            "path": str(store.root / "artifacts" / "abc" / "model.onnx"),
            "opset": 17,
            "parity": {"samples": 256, "flips": 0, "max_abs_diff": 2e-5},
        },
        "latency": {"provider": "CPUExecutionProvider", "batch": 1, "p50_ms": 7.0, "p99_ms": 9.0, "n": 1000},
        "report": str(store.root / "runs" / "r1" / "report.html"),
        "seconds": {"total": 3.0, "gate": 1.0},
    }
    assert (store.root / "runs" / "r1" / "report.html").read_text() == "<p>page</p>"


def test_a_run_without_work_is_unchanged(made: tuple[Store, dict[str, dict[str, str]]], tmp_path: Path) -> None:
    summary = build("r1", *made, {"total": 1.0}, True)
    assert summary["verdict"] == "unchanged"
    assert summary["reasons"] == ["nothing changed since the last run, whose verdict was promote"]


def test_main_figures(made: tuple[Store, dict[str, dict[str, str]]]) -> None:
    store, outputs = made
    assert figure("evaluate", store, outputs["evaluate"]) == "finetune: test top1 0.9300"
    assert figure("latency", store, outputs["latency"]) == "p50 7.00 ms, p99 9.00 ms"
    assert figure("export_onnx", store, outputs["export_onnx"]) == "opset 17, 0 flips"
    assert figure("gate", store, outputs["gate"]) == "promote"


def test_the_table_ends_with_the_paths(
    made: tuple[Store, dict[str, dict[str, str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(build("r1", *made, {"total": 3.0}, False))
    shown = capsys.readouterr().out
    assert "0.9300 (n 400)" in shown and "+0.1200" in shown
    assert [line.split(": ")[0] for line in shown.splitlines()[-2:]] == ["HTML report", "ONNX model"]
