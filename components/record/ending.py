"""How a run on Kubeflow ended. The reports decide: the state that an exit handler is given is not to be relied on.

Backends before 2.17 may say RUNNING of a graph with conditions that has ended (kubeflow/pipelines issues 11979, 13321),
and COMPLETE where later ones say SUCCEEDED.
"""

import json
from collections.abc import Mapping
from typing import Any

from components.interchange.report import Report
from components.interchange.summary import stopped_because


def is_unchanged(reports: Mapping[str, Report]) -> bool:
    """Whether the run ended early because it would have repeated the champion's."""
    return "changes" in reports and reports["changes"].details.get("word") == "unchanged"


def reasons_of_failure(status: str, reports: Mapping[str, Report]) -> list[str]:
    """Why a run did not come to its end; empty where its reports say that it did."""
    gate = reports.get("gate")
    promoted = gate is not None and gate.details.get("verdict") == "promote"
    judged = gate is not None and (not promoted or "promote" in reports)
    if is_unchanged(reports) or stopped_because(reports) or judged:
        return []
    done = ", ".join(reports) or "none"
    return [f"the run did not come to its end; steps with a report: {done}", f"Kubeflow says {_said(status)}"]


def _said(status: str) -> str:
    """Kubeflow's status in words; as it stands where it is not the JSON object that is expected."""
    try:
        given: dict[str, Any] = json.loads(status)
        message = (given.get("error") or {}).get("message", "")
        return f"{given['state']}: {message}" if message else str(given["state"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return status or "nothing"
