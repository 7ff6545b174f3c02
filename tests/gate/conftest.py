"""Reports of one run as the steps write them, small, with a few figures that a test may change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.spec import Evaluate
from components.export_onnx.spec import ExportOnnx
from components.gate.spec import Gate
from components.ingest.spec import Ingest
from components.interchange.artifact import digest, read_card, write_card
from components.interchange.cli import main
from components.interchange.report import Report, Row, read_report, write_report
from components.latency.spec import Latency

CHAMPION = {
    "digest": "c" * 64,
    "shared_classes": ["a", "b", "c"],
    "added_classes": [],
    "removed_classes": [],
    "latency": [
        {"name": "p50_ms", "value": 10.0, "unit": "ms", "of": "batch 1", "n": 1000, "low": 9.8, "high": 10.2},
        {"name": "p99_ms", "value": 20.0, "unit": "ms", "of": "batch 1", "n": 1000, "low": 18.0, "high": 22.0},
    ],
    "provider": "CPUExecutionProvider",
    "num_threads": 4,
}


def champion(**changes: Any) -> dict[str, Any]:
    """The champion as evaluate tells of it, with changes."""
    return {**CHAMPION, **changes}


def figure(name: str, value: float, low: float | None = None, high: float | None = None, **more: Any) -> Row:
    return Row(name=name, value=value, low=low, high=high, **more)


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., tuple[str, Report]]:
    """Write the four reports of a run, run the gate with flags, and give the verdict file's text and the report."""

    def judge(*flags: str, **changed: Any) -> tuple[str, Report]:
        folders = write_reports(tmp_path / "reports", **changed)
        out = tmp_path / "out"
        argv = [part for name, folder in folders.items() for part in (f"--{name}-report", str(folder))]
        assert main(Gate, [*argv, *flags, "--verdict", str(out / "verdict"), "--report", str(out / "report")]) == 0
        return (out / "verdict").read_text(), read_report(out / "report")

    return judge


def write_reports(folder: Path, **changed: Any) -> dict[str, Path]:
    """The four reports by the gate's flags. `changed` replaces rows by name and details by key.

    Rows: p99, p50, top1, sense (balanced accuracy, of four classes), ece, gain (candidate-baseline), rival
    (selected-champion), `more` of evaluate, `exported` of export_onnx. Details: flips, selected, champion, eligible,
    num_threads, noisy. And `ingest_step`, which is what ingest's report is of, and `precision`, which is what ships.
    """
    artifacts = {}
    for name in ("dataset", "baseline", "candidate", "selected", "onnx_model"):
        artifacts[name] = folder / name
        artifacts[name].mkdir(parents=True)
        (artifacts[name] / "content").write_text(name)
    selected = changed.get("selected", "finetune")
    entrant = {"finetune": "candidate", "feature_extraction": "baseline"}[selected]
    images = {"split": "test", "n": 400}
    rows = [
        changed.get("top1") or figure("top1", 0.93, 0.9, 0.955, of=entrant, **images),
        changed.get("sense") or figure("balanced_accuracy", 0.92, 0.89, 0.94, of=entrant, **images),
        *(figure("recall", 0.92, of=f"{entrant}/{label}", split="test", n=100) for label in "abcd"),
        changed.get("ece") or figure("ece", 0.03, 0.02, 0.05, of="selected", **images),
        changed.get("gain") or figure("top1_difference", 0.12, 0.08, 0.16, of="candidate-baseline", **images),
    ]
    if changed.get("champion"):
        rival = figure("top1_difference", 0.05, 0.02, 0.08, of="selected-champion", **images)
        rows += [row for row in [changed.get("rival", rival)] if row is not None]
    rows += changed.get("more", [])
    runs = {"unit": "ms", "of": "batch 1", "n": 1000}
    unused = folder / "unused"
    specs = {
        "ingest": Ingest(source="s", dataset=unused, report=unused),
        "evaluate": Evaluate(
            dataset=artifacts["dataset"],
            baseline=artifacts["baseline"],
            candidate=artifacts["candidate"],
            selected=unused,
            report=unused,
        ),
        "export": ExportOnnx(
            dataset=artifacts["dataset"],
            selected=artifacts["selected"],
            onnx_model=unused,
            report=unused,
            precision=changed.get("precision", "fp32"),
        ),
        "latency": Latency(onnx_model=artifacts["onnx_model"], dataset=artifacts["dataset"], report=unused),
    }
    flips = changed.get("flips", [])
    contents: dict[str, tuple[list[Row], dict[str, Any]]] = {
        "ingest": ([], {}),
        "evaluate": (
            rows,
            {
                "selected": selected,
                "selected_digest": digest(artifacts["selected"]),
                "champion": changed.get("champion"),
            },
        ),
        "export": (
            [figure("parity_samples", 256), figure("flips", len(flips), n=256), *changed.get("exported", [])],
            {
                "eligible": changed.get("eligible", True),
                "ineligible_because": [] if changed.get("eligible", True) else ["the largest difference is 2.0e-01"],
                "flips": [{"id": name, "torch": "a", "onnx": "b", "batch": 1} for name in flips],
            },
        ),
        "latency": (
            [
                changed.get("p50") or figure("p50_ms", 8.0, 7.9, 8.1, **runs),
                changed.get("p99") or figure("p99_ms", 12.0, 11.0, 13.0, **runs),
            ],
            {
                "provider": "CPUExecutionProvider",
                "num_threads": changed.get("num_threads", 4),
                "noisy": changed.get("noisy", False),
                "machine": {"processor": "a Xeon", "cores": 4},
            },
        ),
    }
    written = {}
    for name, (found, details) in contents.items():
        written[name] = folder / f"{name}_report"
        write_report(written[name], specs[name], found, details)
    rewrite(written["ingest"], step=changed.get("ingest_step", "ingest"))
    return written


def rewrite(folder: Path, **content: Any) -> None:
    """Change top-level parts of a report that is written."""
    card = read_card(folder, "report")
    card.pop("format")
    write_card(folder, "report", {**card, **content})
