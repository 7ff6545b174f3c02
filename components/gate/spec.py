"""What gate reads, writes and can be told."""

from pathlib import Path
from typing import Literal

from components.interchange.step import Spec, param, reads, writes

PromoteIf = Literal["better", "not-worse", "faster"]


class Gate(Spec):
    """Compare every report with the budgets: promote, keep or inconclusive, each reason in words."""

    ingest_report: Path = reads("report", "From ingest")
    evaluate_report: Path = reads("report", "From evaluate")
    export_report: Path = reads("report", "From export_onnx")
    latency_report: Path = reads("report", "From latency")
    verdict: Path = writes("verdict", "One word: promote, keep or inconclusive")
    report: Path = writes("report", "Every rule with what was found, what was allowed, and the verdict")

    max_p99_ms: float | None = param("Budget of the 99th percentile at batch 1", default=None, unit="ms", gt=0)
    min_top1: float | None = param("Least test top-1", default=None, ge=0, le=1)
    min_gain: float | None = param("Least test top-1 gain over the champion", default=None, ge=-1, le=1)
    max_flips: int = param("Parity samples whose top-1 may differ between torch and ONNX", default=0, ge=0)
    max_class_drop: float | None = param(
        "Loss of recall that any class may take against the champion, the baseline and, in a lower precision, fp32",
        default=None,
        ge=0,
        le=1,
    )
    max_ece: float | None = param("Largest expected calibration error on test", default=None, ge=0, le=1)
    promote_if: PromoteIf = param(
        "What beats the champion: more test top-1; less by --margin at most; or that, and a lower p50 and p99",
        default="better",
    )
    margin: float = param("Loss of top-1 that still counts as not worse", default=0.01, ge=0, le=1)
    allow_class_change: bool = param("Promote though the champion's classes differ", default=False)
    allow_rolled_back: bool = param("Promote though this very model was rolled back", default=False)
