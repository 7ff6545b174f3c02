"""A run in one JSON object, built from the steps' reports."""

from collections.abc import Mapping
from typing import Any

from components.interchange.report import ENTRANTS, Report, read_report
from components.interchange.summary import Ending, summary_of, value_of
from pipelines.run_records import looks_at_test_set, page_key, put_pages, reports_of
from pipelines.store import Store


def figure(step: str, store: Store, outputs: Mapping[str, str]) -> str:
    """The main figure of a step that is done, in a few words."""
    report = _report(store, outputs)
    if report is None:
        return ""
    if step == "ingest":
        splits = [row.value for row in report.rows if row.name == "images" and row.of in ("train", "val", "test")]
        images = sum(value for value in splits if isinstance(value, int))
        return f"{images} images, {value_of(report, 'quarantined') or 0} quarantined"
    if step in ("feature_extraction", "finetune"):
        best = [float(row.value) for row in report.rows if row.name == "top1" and row.split == "val" and row.value]
        return f"val top1 {max(best):.4f}" if best else ""
    if step == "evaluate":
        selected = report.details.get("selected")
        top1 = report.row("top1", ENTRANTS.get(str(selected), ""), "test")
        return f"{selected}: test top1 {top1.value:.4f}" if top1 else str(selected)
    if step == "export_onnx":
        return f"opset {value_of(report, 'opset')}, {value_of(report, 'flips')} flips"
    if step == "latency":
        p50, p99 = report.row("p50_ms", "batch 1"), report.row("p99_ms", "batch 1")
        return f"p50 {p50.value:.2f} ms, p99 {p99.value:.2f} ms" if p50 and p99 else ""
    if step == "gate":
        return str(report.details.get("verdict", ""))
    return f"champion {str(value_of(report, 'promoted'))[:12]}"


def build(
    run_id: str,
    store: Store,
    outputs: Mapping[str, Mapping[str, str]],
    seconds: Mapping[str, float],
    *,
    model_name: str,
    ending: Ending | None = None,
) -> dict[str, Any]:
    """The summary of a run from its outputs (step -> port -> digest), all of them or those of a run that failed.

    `seconds` holds `total` and one per step. Writes the run's page to its records.
    """
    exported = outputs.get("export_onnx")
    summary = summary_of(
        run_id,
        reports_of(store, outputs),
        model_name=model_name,
        model=store.where(f"artifacts/{exported['onnx_model']}/model.onnx") if exported else None,
        page=store.where(page_key(run_id)),
        seconds=seconds,
        ending=ending,
    )
    if outputs.get("evaluate"):
        summary["test"]["evaluation"] = outputs["evaluate"]["report"]
        summary["test"]["uses"] = looks_at_test_set(store, summary)
    put_pages(store, summary, outputs)
    return summary


def _report(store: Store, outputs: Mapping[str, str]) -> Report | None:
    return read_report(store.artifact(outputs["report"])) if "report" in outputs else None
