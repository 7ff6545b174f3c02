"""How a run on Kubeflow ended. The reports decide: the state that an exit handler is given is not to be relied on.

Backends before 2.17 may say RUNNING of a graph with conditions that has ended (kubeflow/pipelines issues 11979, 13321),
and COMPLETE where later ones say SUCCEEDED.
"""

import json
from collections.abc import Mapping
from typing import Any

from components.interchange.report import Report
from components.interchange.summary import Ending, stopped_because


def ending_of(status: str, reports: Mapping[str, Report], why: Mapping[str, str]) -> Ending | None:
    """The end of a run that would have repeated the champion's, or that failed; None where the reports tell it.

    `why` are the reasons of steps that failed.
    """
    if "changes" in reports and reports["changes"].details.get("word") == "unchanged":
        return Ending("unchanged")
    gate = reports.get("gate")
    promoted = gate is not None and gate.details.get("verdict") == "promote"
    judged = gate is not None and (not promoted or "promote" in reports)
    if stopped_because(reports) or judged:
        return None
    done = ", ".join(reports) or "none"
    reasons = [f"the run did not come to its end; steps with a report: {done}", f"Kubeflow says {_said(status)}"]
    return Ending("failed", [*(f"{step} failed: {words}" for step, words in why.items()), *reasons])


def _said(status: str) -> str:
    """Kubeflow's status in words; as it stands where it is not the JSON object that is expected."""
    try:
        given: dict[str, Any] = json.loads(status)
        message = (given.get("error") or {}).get("message", "")
        return f"{given['state']}: {message}" if message else str(given["state"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return status or "nothing"
