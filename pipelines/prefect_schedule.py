"""Prefect's view of a schedule: one deployment a model name, whose every run is a run of Graft."""

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import flow, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.states import Cancelled, Completed, Crashed, Failed

from components.interchange.errors import BadInput
from pipelines.run_options import NOTIFY, RunOptions
from pipelines.runner import StepFailed, die_with_parent
from pipelines.schedule import FOLDER, ctrl_c_held_back
from pipelines.session import attempt
from pipelines.terminal import announce, failure_line, tell, verdict_line

FLOW = "graft-retrain"
WAITING, AT_WORK = (StateType.SCHEDULED,), (StateType.PENDING, StateType.RUNNING)


@flow(name=FLOW, validate_parameters=False, persist_result=False)
def retrain(options: dict[str, Any]) -> State[Any]:
    """One scheduled run. Its message is the verdict; what it kept from starting meanwhile is cancelled."""
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.chdir(os.environ.get(FOLDER, "."))
    asked = replace(RunOptions.of(options), notify=os.environ.get(NOTIFY))
    try:
        summary, _ = attempt(asked, tell, announce)
    except (StepFailed, BadInput) as error:
        print(failure_line(asked, error), flush=True)
        return Failed(message=str(error))
    finally:
        with get_client(sync_client=True) as client:
            _end(client, str(runtime.deployment.id), WAITING, Cancelled(message="missed: another run was under way"))
    print(verdict_line(summary), flush=True)
    return Completed(message=f"{summary['verdict']}: {'; '.join(summary['reasons'])}")


def serve(options: RunOptions, cron: str, timezone: str) -> None:
    """Keep the schedule until interrupted. Runs missed, or cut off, while nobody served it are ended first."""
    with get_client(sync_client=True) as client:
        try:
            deployment = str(client.read_deployment_by_name(f"{FLOW}/{options.model_name}").id)
            _end(client, deployment, WAITING, Cancelled(message="missed: the schedule was not served"))
            _end(client, deployment, AT_WORK, Crashed(message="cut off: the schedule's process ended"))
        except ObjectNotFound:
            pass
    runner = _Runner(name=options.model_name, limit=1, pause_on_shutdown=False)
    runner.add_flow(
        retrain,
        name=options.model_name,
        schedule=Cron(cron, timezone=timezone),
        parameters={"options": asdict(options)},
        enforce_parameter_schema=False,
    )
    with suppress(asyncio.CancelledError):
        asyncio.run(_until_ctrl_c(runner))


async def _until_ctrl_c(runner: Runner) -> None:
    """Let it run until Ctrl-C cancels it; then it waits for the run under way, whom the terminal has told as well."""
    serving = asyncio.ensure_future(runner.start())
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, serving.cancel)
    with ctrl_c_held_back():  # A run's process imports for seconds, and could only end with a traceback meanwhile.
        await serving


class _Runner(Runner):
    """Prefect's own, which on SIGTERM ends the run under way; but it exits in the midst of it, with a traceback."""

    async def start(self, run_once: bool = False, webserver: bool | None = None) -> None:
        self.loop, self.ending = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        await super().start(run_once, webserver)

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        self.loop.call_soon_threadsafe(lambda: self.ending.add(self.loop.create_task(self.astop())))


def _end(client: SyncPrefectClient, deployment: str, states: tuple[StateType, ...], to: State[Any]) -> None:
    """Put every run of these states into another; of those that wait, only the ones whose time has passed."""
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[UUID(deployment)])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=200,
    )
    now = datetime.now(UTC) + timedelta(seconds=1)
    for run in found:
        due = run.next_scheduled_start_time or run.expected_start_time
        if states == AT_WORK or (due is not None and due <= now):
            client.set_flow_run_state(run.id, to, force=True)
