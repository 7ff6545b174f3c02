"""The summary of a run, from reports with figures of known value."""

import re
from pathlib import Path
from typing import Any

import pytest

from components.interchange.artifact import write_card
from components.interchange.report import Report, Row
from components.interchange.run_page import run_page
from components.interchange.summary import Ending
from pipelines.store import Store, open_store
from pipelines.summary import build, figure
from pipelines.terminal import table

ROWS: dict[str, list[Row]] = {
    "finetune": [],
    "evaluate": [
        Row(name="top1", value=0.5, of="baseline", split="val", n=20),
        Row(name="top1", value=0.81, of="baseline", split="test", n=400),
        Row(name="top1", value=0.93, of="candidate", split="test", n=400),
        Row(name="slice_top1", value=0.8, of="camera=B", split="test", n=100, low=0.7, high=0.87),
        Row(name="recall", value=0.7, of="candidate/scratch", split="test", n=90, low=0.6, high=0.8),
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
        Row(name="p50_ms", value=7.0, unit="ms", of="batch 1", n=1000, low=6.9, high=7.1),
        Row(name="p99_ms", value=9.0, unit="ms", of="batch 1", n=1000, low=8.5),
        Row(name="images_per_s", value=180.0, of="batch 8", n=50),
    ],
    "gate": [],
}
DETAILS: dict[str, dict[str, Any]] = {
    "finetune": {"warnings": ["<few> training images"]},
    "evaluate": {
        "selected": "finetune",
        "selected_because": "it leads <clearly>",
        "calibration": "temperature 1.2",
        "threshold": "no threshold",
        "classes": ["good", "scratch"],
        "slices": {"worst": "camera=B", "stands_out": True, "looked_at": 2},
        "test_digest": "t" * 64,
    },
    "latency": {"provider": "CPUExecutionProvider"},
    "gate": {
        "verdict": "promote",
        "reasons": ["no champion"],
        "findings": [{"rule": "eligible", "outcome": "holds", "words": "the exported model is eligible"}],
    },
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
    failed = build("r0", store, {}, {}, model_name="parts", ending=Ending("failed", ["no images"]))
    summary = build("r1", store, outputs, {"total": 3.0, "gate": 1.0}, model_name="parts")
    assert (
        failed.keys() == summary.keys() and failed["test"].keys() == summary["test"].keys()
    )  # For those who parse it.
    assert summary == {
        "run_id": "r1",
        "model_name": "parts",
        "verdict": "promote",
        "reasons": ["no champion"],
        "warnings": ["finetune: <few> training images"],
        "selected": "finetune",
        "test": {
            "baseline_top1": 0.81,
            "candidate_top1": 0.93,
            "difference": 0.12,
            "interval": [0.08, 0.16],
            "n": 400,
            "digest": "t" * 64,
            "evaluation": outputs["evaluate"]["report"],
            "uses": 1,
        },
        "onnx": {
            "path": str(store.root / "artifacts" / "abc" / "model.onnx"),
            "opset": 17,
            "parity": {"samples": 256, "flips": 0, "max_abs_diff": 2e-5},
        },
        "latency": {
            "provider": "CPUExecutionProvider",
            "batch": 1,
            "p50_ms": 7.0,
            "p50_interval_ms": [6.9, 7.1],
            "p99_ms": 9.0,
            "p99_interval_ms": [8.5, None],
            "n": 1000,
        },
        "report": str(store.root / "runs" / "r1" / "report.html"),
        "seconds": {"total": 3.0, "gate": 1.0},
    }


def test_the_page_tells_the_whole_run_and_those_of_the_steps_lie_beside_it(made: tuple[Store, dict[str, Any]]) -> None:
    store, outputs = made
    build("r1", store, outputs, {"total": 3.0, "gate": 1.0}, model_name="parts")
    folder = store.root / "runs" / "r1"
    page = (folder / "report.html").read_text()
    assert (folder / "evaluate.html").read_text() == "<p>page</p>"
    for words in (
        '<span class="badge good">promote</span>',
        "The new model goes into service. The candidate gets 372 of 400 test images right",
        '<li class="good">the exported model is eligible</li>',
        '<li class="unsure">finetune: &lt;few&gt; training images</li>',
        "It leads &lt;clearly&gt;.",
        "worst: camera=B, more than chance explains",
        "+8.0 to +16.0, n 400",
        "used once in this store",
        "evaluate.html",
    ):
        assert words in page, words


def test_the_page_says_whose_a_gain_is_what_was_skipped_and_why_a_precision_may_not_ship() -> None:
    def report(step: str, rows: list[Row], spec: dict[str, Any], **details: Any) -> Report:
        return Report(format="graft.report/1", step=step, spec=spec, inputs={}, rows=rows, details=details)

    gains = [("candidate-baseline", "", 0.03, 400), ("selected-champion", "", 0.0, 400)]
    gains += [("selected-champion", "_adjusted", 0.02, 300)]
    rows = [Row(name=f"top1_difference{end}", of=of, split="test", value=v, n=n) for of, end, v, n in gains]
    fp16 = {"eligible": False, "ineligible_because": ["it loses 0.01"]}
    spec = {"variants": [], "batches": [8, 32], "device": None, "compile": False}
    reports = {
        "evaluate": report("evaluate", rows, spec, selected="finetune", classes=[], selected_because="it leads"),
        "export_onnx": report("export_onnx", [], {}, precisions={"fp16": fp16}),
    }
    seconds = {"evaluate": 0.0, "export_onnx": 2.0, "promote": 0.0, "total": 2.0}
    page = run_page({"run_id": "r", "verdict": "keep", "reasons": ["it is worse"], "seconds": seconds}, reports)
    lines = re.sub(r"\s*<[^>]*>\s*", "|", page)
    for words in (
        "points, candidate over baseline|",
        "points, over champion, without images it knows|",
        "fp16 may not ship: it loses 0.01|",
    ):
        assert words in lines, words
    for first, second in {
        "evaluate.variants": "none",
        "evaluate.batches": "8, 32",
        "evaluate.device": "not given",
        "evaluate.compile": "no",
        "evaluate": "done before",
        "promote": "skipped",
    }.items():
        assert re.search(rf"\|{re.escape(first)}\|+{second}\|", lines), first


def test_the_page_says_where_the_champion_was_scored_on_fewer_classes() -> None:
    rows = [
        Row(name="top1", of=of, split="test", value=v, n=n)
        for of, v, n in (("candidate", 0.8, 300), ("champion", 0.9, 200))
    ]
    details = {"selected": "finetune", "classes": [], "selected_because": "it leads"}
    evaluate = Report(format="graft.report/1", step="evaluate", spec={}, inputs={}, rows=rows, details=details)
    summary = {"run_id": "r", "verdict": "keep", "reasons": ["it is worse"], "seconds": {"total": 2.0}}

    page = run_page(summary, {"evaluate": evaluate})

    assert "gets 240 of 300 test images right; the champion 180 of 200 of the classes that both know." in page
    assert "The champion: of the classes that both know alone, which is easier." in page


def test_a_run_that_failed_has_a_page_of_what_was_done(made: tuple[Store, dict[str, Any]]) -> None:
    store, outputs = made
    done = {"evaluate": outputs["evaluate"]}
    summary = build(
        "r1",
        store,
        done,
        {"total": 3.0},
        model_name="parts",
        ending=Ending("failed", ["export_onnx crashed (exit code 1)"]),
    )
    page = (store.root / "runs" / "r1" / "report.html").read_text()
    assert (summary["verdict"], summary["onnx"]["path"]) == ("failed", None)
    assert '<span class="badge bad">failed</span>' in page
    assert "The run did not come to its end: export_onnx crashed (exit code 1)." in page
    assert "Evaluation" in page and "Latency" not in page
    build("r2", store, {}, {"total": 3.0}, model_name="parts", ending=Ending("failed", ["ingest refused its input"]))
    assert "ingest refused its input" in (store.root / "runs" / "r2" / "report.html").read_text()


def test_looks_at_a_test_set_are_counted_by_evaluation(made: tuple[Store, dict[str, Any]]) -> None:
    store, outputs = made

    def ended(run_id: str) -> int:
        summary = build(run_id, store, outputs, {"total": 1.0}, model_name="parts")
        store.put_record(f"runs/{run_id}/summary.json", summary)
        return int(summary["test"]["uses"])

    assert [ended("r1"), ended("r2")] == [1, 1], "the same evaluation, found again"
    other = {"test": {"digest": "t" * 64, "evaluation": "e" * 64}, "verdict": "keep", "model_name": "parts"}
    store.put_record("runs/r3/summary.json", other)
    store.put_record("runs/r4/summary.json", {**other, "test": {"digest": "u" * 64, "evaluation": "f" * 64}})
    assert ended("r5") == 2


def test_a_run_without_work_is_unchanged(made: tuple[Store, dict[str, dict[str, str]]], tmp_path: Path) -> None:
    summary = build("r1", *made, {"total": 1.0}, model_name="parts", ending=Ending("unchanged"))
    assert summary["verdict"] == "unchanged"
    assert summary["reasons"] == ["nothing changed since the last run that came to a verdict: promote"]


def test_main_figures(made: tuple[Store, dict[str, dict[str, str]]]) -> None:
    store, outputs = made
    assert figure("evaluate", store, outputs["evaluate"]) == "finetune: test top1 0.9300"
    assert figure("latency", store, outputs["latency"]) == "p50 7.00 ms, p99 9.00 ms"
    assert figure("export_onnx", store, outputs["export_onnx"]) == "opset 17, 0 flips"
    assert figure("gate", store, outputs["gate"]) == "promote"


def test_the_table_ends_with_the_paths(
    made: tuple[Store, dict[str, dict[str, str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(build("r1", *made, {"total": 3.0}, model_name="parts"))
    shown = capsys.readouterr().out
    assert "0.9300 (n 400)" in shown and "+0.1200" in shown
    assert "p50 7.00 ms [6.90, 7.10], p99 9.00 ms [8.50, unbounded] at batch 1" in " ".join(
        shown.replace("│", " ").split()
    )
    assert "be wary of" in shown and "finetune: <few> training images" in shown
    assert [line.split(": ")[0] for line in shown.splitlines()[-2:]] == ["HTML report", "ONNX model"]
