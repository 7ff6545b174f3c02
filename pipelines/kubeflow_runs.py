"""Runs and schedules on a cluster: start, follow, list, and keep a schedule as it was asked for."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from kfp_server_api import V2beta1CronSchedule, V2beta1RecurringRun, V2beta1RuntimeConfig, V2beta1Trigger

from components.interchange.errors import BadInput
from pipelines.kubeflow_api import Kubeflow

# kfp's own waiting knows no CANCELED and waits for it for ever.
ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
LOST_ANSWERS = 5


def follow(server: Kubeflow, run_id: str, tell: Callable[[str], None], every_s: float, until: float = math.inf) -> str:
    """Wait for a run's end, or until `until` of the monotonic clock, and return its last state. `tell` hears of every
    new state.

    A few lost answers in a row are no end: a server may be restarted under a long run.
    """
    known, lost = "", 0
    while known not in ENDED:
        try:
            state = str(server.run(run_id).state)
            lost = 0
        except BadInput:
            lost += 1
            if lost == LOST_ANSWERS:
                raise
            state = known
        if state != known:
            tell(state)
            known = state
        if known not in ENDED:
            if time.monotonic() > until:
                break
            time.sleep(every_s)
    return known


def newest(server: Kubeflow, model_name: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest runs on a cluster as plain figures; `limit` 0 for all, `model_name` None for any."""
    wanted = (run for run in _runs(server) if model_name in (None, run["model_name"]))
    return list(islice(wanted, limit or None))


def _runs(server: Kubeflow) -> Iterator[dict[str, Any]]:
    for run in server.runs():
        given = (run.runtime_config.parameters if run.runtime_config else None) or {}
        yield {
            "run_id": run.run_id,
            "model_name": given.get("model_name", "model"),
            "state": run.state,
            "name": run.display_name,
            "scheduled": run.recurring_run_id is not None,
            "created": _iso(run.created_at),
            "seconds": _seconds(run.created_at, run.finished_at),
        }


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="seconds")


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    ended = start is not None and end is not None and end >= start  # A run under way has ended in 1970.
    return (end - start).total_seconds() if ended and start and end else None


@dataclass(frozen=True)
class Wanted:
    """A schedule as it was asked for; `cron` has Kubeflow's six fields."""

    name: str
    version: Any
    experiment_id: str
    cron: str
    parameters: Mapping[str, Any]
    account: str | None

    def body(self, namespace: str | None) -> V2beta1RecurringRun:
        """The schedule for Kubeflow, not yet enabled: one run at a time, none made up for later."""
        return V2beta1RecurringRun(
            display_name=self.name,
            experiment_id=self.experiment_id,
            pipeline_version_reference=self.version,
            runtime_config=V2beta1RuntimeConfig(parameters=dict(self.parameters)),
            service_account=self.account,
            trigger=V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron=self.cron)),
            max_concurrency="1",
            no_catchup=True,
            mode="DISABLE",
            namespace=namespace,
        )

    def is_(self, one: Any) -> bool:
        """Whether a schedule is this one. The account counts where one was asked for: Kubeflow fills in its own."""
        schedule = one.trigger.cron_schedule if one.trigger else None
        given = (one.runtime_config.parameters if one.runtime_config else None) or {}
        return (
            schedule is not None
            and schedule.cron == self.cron
            and one.pipeline_version_reference is not None
            and one.pipeline_version_reference.pipeline_version_id == self.version.pipeline_version_id
            and dict(given) == dict(self.parameters)
            and self.account in (None, one.service_account)
            and bool(one.no_catchup)
            and str(one.max_concurrency) == "1"
        )


def keep_schedule(server: Kubeflow, wanted: Wanted) -> tuple[str, list[str]]:
    """Have exactly one schedule of that name, enabled; its id, and what was done about it.

    Kubeflow cannot change a schedule. The new one is made disabled, those before it are deleted, then it is enabled:
    wherever that is cut off, the same call goes on, and at no time do two of them start runs.
    """
    there = server.schedules(wanted.experiment_id, wanted.name)
    same = [one for one in there if wanted.is_(one)]
    kept = next((one for one in same if one.status == "ENABLED"), same[0] if same else None)
    done = []
    if kept is None:
        kept = server.add_schedule(wanted.body(server.namespace))
        done.append("made")
    for one in there:
        if one.recurring_run_id != kept.recurring_run_id:
            server.delete_schedule(one.recurring_run_id)
            done.append(f"deleted {one.recurring_run_id}")
    if kept.status != "ENABLED":
        server.enable_schedule(kept.recurring_run_id)
        done.append("enabled")
    return str(kept.recurring_run_id), done
