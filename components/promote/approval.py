"""What the gate said: read from its report, refused unless it is `promote`."""

from pydantic import BaseModel, ConfigDict

from components.interchange.errors import BadInput
from components.interchange.report import Report, Row

# Figures of the model itself; the gate's rows of the same names for its rules are left out.
LATENCY_NAMES, LATENCY_OWNERS = ("p50_ms", "p90_ms", "p99_ms"), ("batch 1",)
TOP1_NAMES = ("top1", "top1_difference")
TOP1_OWNERS = ("baseline", "candidate", "candidate-baseline", "selected-champion")


class Approval(BaseModel):
    """The verdict `promote` and what it rests on.

    `model` is the digest of the onnx_model that was judged, `contenders` those of the run's classifier artifacts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    verdict: str
    reasons: list[str]
    model: str
    compared_with: str | None
    contenders: list[str] = []
    allow_rolled_back: bool = False
    provider: str | None = None
    num_threads: int | None = None
    processor: str | None = None
    noisy: bool = False
    latency: list[Row] = []
    top1: list[Row] = []


def approval(report: Report) -> Approval:
    """The gate's approval; BadInput where the gate said anything else, or where the report is not the gate's."""
    if report.step != "gate":
        raise BadInput(f"--gate-report is a report of {report.step}, expected one of gate.")
    found = report.details_as(Approval)
    if found.verdict != "promote":
        reasons = "; ".join(found.reasons) or "no reason given"
        raise BadInput(f"gate said {found.verdict}: {reasons}; nothing was changed.")
    rows = {
        "latency": [row for row in report.rows if row.name in LATENCY_NAMES and row.of in LATENCY_OWNERS],
        "top1": [row for row in report.rows if row.name in TOP1_NAMES and row.of in TOP1_OWNERS],
    }
    return found.model_copy(update=rows)
