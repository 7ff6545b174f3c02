"""A run's figures as artifacts of Prefect, for its UI: a table of scores, a table of steps, a link to the page."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate

from pipelines.runner import Outcome
from pipelines.terminal import summary_rows


def show(summary: Mapping[str, Any], outcomes: Mapping[str, Outcome], flow_run_id: str) -> None:
    """Put a run's artifacts beside its flow run. Those of a model name share their keys: the UI shows their history."""
    key = f"graft-{re.sub('[^a-z0-9]+', '-', str(summary['model_name']).lower()).strip('-')}"
    scores = [{"what": name, "value": value} for name, value in summary_rows(summary)]
    steps = [
        {"step": one.step, "what": one.action, "why": one.why, "seconds": round(one.seconds, 1), "figure": one.figure}
        for one in outcomes.values()
    ]
    page = str(summary["report"])
    link = page if "://" in page else Path(page).as_uri()
    told = f"{summary['run_id']}: {summary['verdict']}"
    with get_client(sync_client=True) as client:
        for name, kind, data in (
            ("scores", "table", json.dumps(scores)),
            ("steps", "table", json.dumps(steps)),
            ("page", "markdown", f"[{page}]({link})"),
        ):
            client.create_artifact(
                ArtifactCreate(
                    key=f"{key}-{name}", type=kind, description=told, data=data, flow_run_id=UUID(flow_run_id)
                )
            )
