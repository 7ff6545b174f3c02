"""Prefect's view of a step: one task by its name, which calls the runner. Keys and caching stay ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.exceptions import TerminationSignal
from prefect.logging.handlers import APILogWorker
from prefect.states import Completed

from pipelines.plan import Request
from pipelines.runner import Outcome, Tell, perform
from pipelines.store import Store


@task(cache_policy=NO_CACHE, persist_result=False)
def run_step(request: Request, store: Store, name: str, inputs: dict[str, str]) -> Outcome:
    """One step of a run."""
    return perform(request, store, name, inputs)


@task(cache_policy=NO_CACHE, persist_result=False)
def leave_out(why: str) -> State[str]:
    """A step that its verdict left out, for the history."""
    return Completed(name="Skipped", message=why)


class StepTasks:
    """The steps of one run, to be called by name: `steps("latency", onnx_model=digest, …)` gives port -> digest."""

    def __init__(self, request: Request, store: Store, tell: Tell) -> None:
        self.request, self.store, self.tell = request, store, tell
        self.outcomes: dict[str, Outcome] = {}

    def __call__(self, name: str, **inputs: str | None) -> dict[str, str]:
        """Run a step as a Prefect task, in this thread, so that Ctrl-C reaches it."""
        options = run_step.with_options(name=name, task_run_name=name)
        given = {port: digest for port, digest in inputs.items() if digest is not None}
        return self._done(options(self.request, self.store, name, given))

    def word(self, digest: str) -> str:
        """What a verdict says."""
        return self.store.word(digest)

    def skip(self, name: str, why: str) -> None:
        """Note that a step is left out, and why: a task as well, in the state `Skipped`."""
        leave_out.with_options(name=name, task_run_name=name)(why, return_state=True)
        self._done(Outcome(name, "skip", why, 0.0, {}))

    def _done(self, outcome: Outcome) -> dict[str, str]:
        self.outcomes[outcome.step] = outcome
        self.tell(outcome)
        return outcome.outputs


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """SystemExit where SIGTERM ends a flow: of one that `graft serve` sends, Prefect keeps its own exception."""
    try:
        yield
    except TerminationSignal as error:
        raise SystemExit(128 + error.signal) from None


def drain() -> None:
    """Hand what Prefect's background threads still hold to the server."""
    APILogWorker.drain_all(timeout=2)
    EventsWorker.drain_all(timeout=2)
