"""What a run came to, as one JSON object, from the reports of its steps: for a local run and for one on a cluster."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from components.interchange.report import Report

BROKEN_OFF = ("failed", "interrupted")  # Verdicts of runs that did not come to their end.


class Ending(NamedTuple):
    """An end that no report tells; `reasons` say why the run did not come to its own."""

    verdict: Literal["unchanged", "failed", "interrupted"]
    reasons: Sequence[str] = ()


def summary_of(
    run_id: str,
    reports: Mapping[str, Report],
    *,
    model_name: str,
    model: str | None,
    page: str | None,
    seconds: Mapping[str, float | None],
    ending: Ending | None = None,
) -> dict[str, Any]:
    """The summary of a run from its reports by step; what a report that is not there would say is None.

    `model` and `page` say where the ONNX model and the HTML report lie; `seconds` holds `total` and one number a step.
    Which evaluation it was, and how often its test set was used, a caller adds who knows the other runs.
    """
    evaluate, export, latency = (reports.get(step) for step in ("evaluate", "export_onnx", "latency"))
    verdict, reasons = _verdict(reports, ending)
    return {
        "run_id": run_id,
        "model_name": model_name,
        "verdict": verdict,
        "reasons": reasons,
        "warnings": warnings_of(reports),
        "selected": evaluate.details.get("selected") if evaluate else None,
        "test": _test(evaluate),
        "onnx": {
            "path": model,
            "opset": value_of(export, "opset"),
            "parity": {
                "samples": value_of(export, "parity_samples"),
                "flips": value_of(export, "flips"),
                "max_abs_diff": value_of(export, "max_abs_diff"),
            },
        },
        "latency": _latency(latency),
        "report": page,
        "seconds": dict(seconds),
    }


def judged(reports: Mapping[str, Report]) -> tuple[str, list[str]]:
    """The verdict that a run's reports hold, and its reasons: the gate's, or `keep` where drift ended the run.

    An empty word where neither is there.
    """
    gate, drifted = reports.get("gate"), stopped_because(reports)
    if gate is not None:
        return str(gate.details.get("verdict")), list(gate.details.get("reasons", []))
    return ("keep", ["stopped before training, by --on-drift stop", *drifted]) if drifted else ("", [])


def stopped_because(reports: Mapping[str, Report]) -> list[str]:
    """The drift for whose sake ingest ended the run before training, in words; empty where it did not."""
    ingest = ingested(reports)
    details = ingest.details if ingest else {}
    return list(details["drifted"]) if details.get("stopped") else []


def warnings_of(reports: Mapping[str, Report]) -> list[str]:
    """What the steps' reports warn of, a sentence each behind the step's name."""
    said = [(step, words) for step, report in reports.items() for words in report.details.get("warnings", [])]
    return [f"{step}: {words.removesuffix('.')}" for step, words in said]


def _verdict(reports: Mapping[str, Report], ending: Ending | None) -> tuple[str, list[str]]:
    word, reasons = judged(reports)
    if ending is None:
        return word, reasons
    if ending.verdict == "unchanged":
        was = f" that came to a verdict: {word}" if word else ""
        return ending.verdict, [f"nothing changed since the last run{was}"]
    return ending.verdict, list(ending.reasons)


def _test(report: Report | None) -> dict[str, Any]:
    baseline, candidate, difference = (
        report.row(name, of, "test") if report else None
        for name, of in (
            ("top1", "baseline"),
            ("top1", "candidate"),
            ("top1_difference", "candidate-baseline"),
        )
    )
    one = candidate or baseline
    return {
        "baseline_top1": baseline.value if baseline else None,
        "candidate_top1": candidate.value if candidate else None,
        "difference": difference.value if difference else None,
        "interval": [difference.low, difference.high] if difference else None,
        "n": one.n if one else None,
        "digest": report.details.get("test_digest") if report else None,
        "evaluation": None,
        "uses": None,
    }


def _latency(report: Report | None) -> dict[str, Any]:
    p50, p99 = (report.row(name, "batch 1") if report else None for name in ("p50_ms", "p99_ms"))
    return {
        "provider": report.details.get("provider") if report else None,
        "batch": 1,
        "p50_ms": p50.value if p50 else None,
        "p50_interval_ms": [p50.low, p50.high] if p50 else None,
        "p99_ms": p99.value if p99 else None,
        "p99_interval_ms": [p99.low, p99.high] if p99 else None,
        "n": p99.n if p99 else None,
    }


def ingested(reports: Mapping[str, Report]) -> Report | None:
    """The report of ingest; where its work was divided, of ingest_merge."""
    return reports.get("ingest") or reports.get("ingest_merge")


def value_of(report: Report | None, name: str) -> Any:
    """The value of the first row of that name, whoever owns it; None where there is none."""
    rows = report.rows if report else []
    return next((row.value for row in rows if row.name == name), None)
