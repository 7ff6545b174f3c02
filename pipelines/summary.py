"""A run in one JSON object, built from the steps' reports."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.interchange.report import Report, Row, read_report
from pipelines.store import Store


def figure(step: str, store: Store, outputs: Mapping[str, str]) -> str:
    """The main figure of a step that is done, in a few words."""
    report = _report(store, outputs)
    if report is None:
        return ""
    if step == "ingest":
        splits = [row.value for row in report.rows if row.name == "images" and row.of in ("train", "val", "test")]
        images = sum(value for value in splits if isinstance(value, int))
        return f"{images} images, {_value(report, 'quarantined') or 0} quarantined"
    if step in ("feature_extraction", "finetune"):
        best = [float(row.value) for row in report.rows if row.name == "top1" and row.split == "val" and row.value]
        return f"val top1 {max(best):.4f}" if best else ""
    if step == "evaluate":
        selected = report.details.get("selected")
        who = {"finetune": "candidate", "feature_extraction": "baseline"}.get(str(selected), "")
        top1 = report.row("top1", who, "test")
        return f"{selected}: test top1 {top1.value:.4f}" if top1 else str(selected)
    if step == "export_onnx":
        return f"opset {_value(report, 'opset')}, {_value(report, 'flips')} flips"
    if step == "latency":
        p50, p99 = _row(report, "p50_ms"), _row(report, "p99_ms")
        return f"p50 {p50.value:.2f} ms, p99 {p99.value:.2f} ms" if p50 and p99 else ""
    if step == "gate":
        return str(report.details.get("verdict", ""))
    return f"champion {str(_value(report, 'promoted'))[:12]}"


def build(
    run_id: str,
    store: Store,
    outputs: Mapping[str, Mapping[str, str]],
    seconds: Mapping[str, float],
    unchanged: bool,
    folder: Path,
) -> dict[str, Any]:
    """The summary of a run from its outputs (step -> port -> digest). `seconds` holds `total` and one per step.

    Copies the HTML report into the run's `folder`.
    """
    evaluate, export, latency, gate = (
        read_report(store.artifact(outputs[step]["report"])) for step in ("evaluate", "export_onnx", "latency", "gate")
    )
    word = store.word(outputs["gate"]["verdict"])
    reasons = list(gate.details.get("reasons", []))
    page = store.artifact(outputs["evaluate"]["report"]) / "report.html"
    return {
        "run_id": run_id,
        "verdict": "unchanged" if unchanged else word,
        "reasons": [f"nothing changed since the last run, whose verdict was {word}"] if unchanged else reasons,
        "selected": evaluate.details.get("selected"),
        "test": _test(evaluate),
        "onnx": {
            "path": str(store.artifact(outputs["export_onnx"]["onnx_model"]) / "model.onnx"),
            "opset": _value(export, "opset"),
            "parity": {
                "samples": _value(export, "parity_samples"),
                "flips": _value(export, "flips"),
                "max_abs_diff": _value(export, "max_abs_diff"),
            },
        },
        "latency": _latency(latency),
        "report": _kept(page, folder),
        "seconds": dict(seconds),
    }


def _test(report: Report) -> dict[str, Any]:
    baseline, candidate = report.row("top1", "baseline", "test"), report.row("top1", "candidate", "test")
    difference = report.row("top1_difference", "candidate-baseline", "test")
    one = candidate or baseline
    return {
        "baseline_top1": baseline.value if baseline else None,
        "candidate_top1": candidate.value if candidate else None,
        "difference": difference.value if difference else None,
        "interval": [difference.low, difference.high] if difference else None,
        "n": one.n if one else None,
    }


def _latency(report: Report) -> dict[str, Any]:
    p50, p99 = report.row("p50_ms", "batch 1"), report.row("p99_ms", "batch 1")
    return {
        "provider": report.details.get("provider"),
        "batch": 1,
        "p50_ms": p50.value if p50 else None,
        "p99_ms": p99.value if p99 else None,
        "n": p99.n if p99 else None,
    }


def _kept(page: Path, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(shutil.copyfile(page, folder / "report.html"))


def _report(store: Store, outputs: Mapping[str, str]) -> Report | None:
    return read_report(store.artifact(outputs["report"])) if "report" in outputs else None


def _row(report: Report, name: str) -> Row | None:
    return next((row for row in report.rows if row.name == name), None)


def _value(report: Report, name: str) -> Any:
    row = _row(report, name)
    return row.value if row else None
