"""The reports of a run on a cluster, kept in the store: `runs/<run_id>/reports/<step>/`.

Kubeflow's exit handler gets no outputs of other tasks, and nothing at all of those that failed; so each step puts its
report there as well when it is done, and the summary is built from what is there. Why a step failed, of any run,
stands in its last sign of life.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from components.interchange.artifact import CARDS, RUN_FILE
from components.interchange.blobs import Blobs
from components.interchange.errors import BadInput, what_is_wrong
from components.interchange.heartbeat import heartbeat_prefix
from components.interchange.report import PAGE, Report

REPORT = CARDS["report"]


@dataclass(frozen=True)
class KeptReport:
    """A step's report; times are in seconds since the epoch."""

    report: Report
    started: float
    seconds: float
    has_page: bool


def keep_report(blobs: Blobs, run_id: str, step: str, folder: Path) -> None:
    """Put a step's report into the store, over that of an earlier try."""
    for name in (PAGE, RUN_FILE, REPORT):
        if (folder / name).is_file():
            blobs.put_file(f"{_prefix(run_id)}{step}/{name}", folder / name)


def reports_of(blobs: Blobs, run_id: str) -> dict[str, KeptReport]:
    """Every report that a run has kept, by step, in the order in which the steps began."""
    keys = set(blobs.list(_prefix(run_id)))
    steps = sorted(key.split("/")[-2] for key in keys if key.endswith(f"/{REPORT}"))
    found = {step: _kept(blobs, f"{_prefix(run_id)}{step}/", keys) for step in steps}
    return dict(sorted(found.items(), key=lambda item: item[1].started))


def _kept(blobs: Blobs, prefix: str, keys: set[str]) -> KeptReport:
    try:
        report = Report.model_validate_json(blobs.get(prefix + REPORT) or b"")
        record = json.loads(blobs.get(prefix + RUN_FILE) or b"{}")
    except (ValidationError, ValueError) as error:
        raise BadInput(f"{blobs.uri}/{prefix}{REPORT} is damaged ({what_is_wrong(error)}).") from None
    times = float(record.get("started", 0)), float(record.get("seconds", 0))
    return KeptReport(report, *times, has_page=prefix + PAGE in keys)


def published_model(blobs: Blobs, promotion: Report | None) -> str | None:
    """Where the model of a run's promotion lies; None where nothing was promoted."""
    row = promotion.row("promoted") if promotion else None
    return None if row is None else f"{blobs.uri}/models/{row.value}/model.onnx"


def why_failed(blobs: Blobs, run_id: str) -> dict[str, str]:
    """Of each step of a run that failed the reason, in words; without those that could not give one."""
    found = {}
    for key in blobs.list(heartbeat_prefix(run_id)):
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):  # Cut off, done, or not ours.
            last = json.loads(blobs.get(key) or b"null")
            found[str(last["step"])] = str(last["why"])
    return found


def _prefix(run_id: str) -> str:
    return f"runs/{run_id}/reports/"
