"""Runs one step: stages its inputs, calls its command line, publishes its outputs, writes its key.

`inline` calls the step in this process, `process` in one of its own (and a group of its own, so that Ctrl-C reaches
it through us, with everything it has started), `docker` in the container of its family.
"""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.interchange.artifact import SOURCES_FILE
from components.interchange.cli import argv_of, main, sigterm_ignored
from components.interchange.errors import BadInput
from components.interchange.run_reports import why_failed
from components.interchange.step import RunContext, ports
from pipelines import docker_runner
from pipelines.cluster import Cluster
from pipelines.parameters import spec_of
from pipelines.plan import Planned, Request, inputs_of, look_up, refused
from pipelines.steps import Step, graph_for
from pipelines.store import Store
from pipelines.summary import figure

# A training saves a checkpoint before it ends, to S3 perhaps; other steps end at once. Prefect and Kubernetes, which
# end runs from outside, wait this long too.
GRACE, GRACE_S = "GRAFT_GRACE_S", 30.0
MEMORY_WAITS_S = (15.0, 60.0, 240.0)
OUT_OF_MEMORY = ", most likely for want of memory: give it more, or take a smaller backbone or batch"
PR_SET_PDEATHSIG = 1
log = logging.getLogger("graft")
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class StepFailed(Exception):
    """A step ended with an exit code other than 0. It has said why itself, on standard error; `why` is for later."""

    def __init__(self, step: str, code: int, why: str = "") -> None:
        self.step, self.code, self.why = step, code, why
        ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"crashed (exit code {code})"
        ended += OUT_OF_MEMORY if code == -signal.SIGKILL else ""
        super().__init__(f"{step} {'refused its input' if code == 2 else ended}{f': {why}' if why else ''}")


@dataclass(frozen=True)
class Outcome:
    """What became of a step. `outputs` maps port to digest; `seconds` is 0 where it did not run."""

    step: str
    action: str
    why: str
    seconds: float
    outputs: dict[str, str]
    figure: str = ""


Tell = Callable[[Outcome], None]


def perform(request: Request, store: Store, name: str, inputs: Mapping[str, str]) -> Outcome:
    """Run a step, unless what it would make is there already. StepFailed when it does not end well."""
    step = next(step for step in graph_for(request.strategy) if step.name == name)
    planned = look_up(request, store, step, inputs)
    seconds = 0.0
    outputs = planned.outputs
    if outputs is None:
        started = time.monotonic()
        outputs = _made(request, store, step, inputs, planned.key)
        seconds = time.monotonic() - started
    if planned.key is not None:
        _remember(request, store, planned, outputs, seconds)
    return Outcome(name, planned.action, planned.why, seconds, outputs, figure(name, store, outputs))


def _made(request: Request, store: Store, step: Step, inputs: Mapping[str, str], key: str | None) -> dict[str, str]:
    with store.staging() as staging, _checkpoints(store, step, key) as place:
        paths = {port: store.artifact(digest) for port, digest in inputs.items()}
        written = {port.name: staging / port.name for port in ports(step.spec, "out")}
        place |= _earlier(request, store, step)
        spec = spec_of(step, {**place, **request.values.get(step.name, {})}, {**paths, **written})
        context = RunContext(store=request.store, run_id=request.run_id, model_name=request.model_name)
        argv = argv_of(spec, context)
        run = _how(request, store, step, argv)
        code = main(step.spec, argv) if run is None else _persistently(step, run)
        if code != 0:
            raise StepFailed(step.name, code, _why(request, store, step))
        return {port: store.publish(path) for port, path in written.items()}


def _why(request: Request, store: Store, step: Step) -> str:
    """What a step that failed gave as the reason in its last sign of life; empty where it gave none."""
    with contextlib.suppress(BadInput):  # The store itself may be what failed.
        return why_failed(store.blobs, request.run_id).get(step.name, "")
    return ""


def _earlier(request: Request, store: Store, step: Step) -> dict[str, str]:
    """The last dataset of this model name that lies here whole, as a parameter: what a step need not decode again.

    It changes no output, so no key holds it. A step that was forced to run does all of its work.
    """
    if "reuse" not in step.spec.model_fields or step.name in request.force:
        return {}
    latest = store.record(f"latest/{request.model_name}/{step.name}.json") or {}
    outputs = store.outputs_of(latest.get("key", "")) or {}
    digest = outputs.get("dataset")
    if digest is None or store.shelf.faults(digest) != []:
        return {}
    place = store.shelf.place(digest)
    return {"reuse": str(place)} if (place / SOURCES_FILE).is_file() else {}


def _how(request: Request, store: Store, step: Step, argv: list[str]) -> Callable[[], int] | None:
    """What runs a step and returns its exit code; None for this process."""
    if request.runner == "docker":
        return lambda: _container(request, store, step, argv)
    if request.runner == "process":
        return lambda: exit_code_of([sys.executable, "-m", f"components.{step.name}", *argv])
    return None


def _persistently(step: Step, run: Callable[[], int]) -> int:
    """Exit code of a step in a process of its own. What the kernel kills, most likely for memory, is tried again."""
    for wait_s in MEMORY_WAITS_S[: step.retries]:
        code = run()
        if code != -signal.SIGKILL:
            return code
        log.warning("step=%s was killed, most likely for want of memory; again in %.0f s", step.name, wait_s)
        time.sleep(wait_s)
    return run()


@contextlib.contextmanager
def _checkpoints(store: Store, step: Step, key: str | None) -> Iterator[dict[str, str]]:
    """Where a step that saves its progress does so, as a parameter; removed once the step is done."""
    if key is None or "checkpoint_uri" not in step.spec.model_fields:
        yield {}
        return
    prefix = f"checkpoints/{key}"
    yield {"checkpoint_uri": store.where(prefix)}
    store.blobs.delete_folder(prefix)


def _remember(request: Request, store: Store, planned: Planned, outputs: dict[str, str], seconds: float) -> None:
    name = planned.step.name
    if planned.action == "run":
        record: dict[str, Any] = {"step": name, "parts": planned.parts, "outputs": outputs}
        store.put_record(f"keys/{planned.key}.json", {**record, "run_id": request.run_id, "seconds": seconds})
    store.put_record(f"latest/{request.model_name}/{name}.json", {"key": planned.key})


def _container(request: Request, store: Store, step: Step, argv: list[str]) -> int:
    """Exit code of a step in its container; nothing of it stays behind."""
    assert request.image_tag is not None, "a request names its images"
    images, name = Cluster(request.image_prefix, request.image_tag), docker_runner.new_name(step)
    values = request.values.get(step.name, {})
    step = docker_runner.placed(step, values)
    docker_runner.check([step], images)
    try:
        code = exit_code_of(docker_runner.command_of(step, images, store.root, values, argv, name))
        return -signal.SIGKILL if code == 128 + signal.SIGKILL else code
    finally:
        docker_runner.end(name)


def exit_code_of(command: list[str]) -> int:
    """Exit code of a process of its own; its standard output goes where its standard error goes: to ours.

    It imports nothing from the folder that we stand in, which may be one of somebody's images.
    """
    code_root = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(code_root), os.environ.get("PYTHONPATH")]))
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        return child.wait()
    finally:
        _end(child)


def die_with_parent() -> None:
    """Ask Linux to end this process when the one that started it dies, even by SIGKILL."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Nothing of the child's process group stays behind. It has time to tidy up, unless Ctrl-C comes once more."""
    try:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            with sigterm_ignored(), contextlib.suppress(subprocess.TimeoutExpired):  # Prefect's handler, too.
                child.wait(grace_s())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def grace_s() -> float:
    """Seconds between SIGTERM and SIGKILL for a step that is to end early: GRAFT_GRACE_S, or 30."""
    given = os.environ.get(GRACE, str(GRACE_S))
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise BadInput(f"{GRACE}={given!r}: expected seconds that a step has to save its work before it is killed.")
    return seconds


def loop(request: Request, store: Store, tell: Tell) -> dict[str, Outcome]:
    """Every step of a run in order, without an engine."""
    made: dict[str, dict[str, str]] = {}
    outcomes: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    for step in graph_for(request.strategy):
        refusal = refused(step, store, made, skipped)
        if refusal:
            skipped[step.name] = refusal
            outcome = Outcome(step.name, "skip", refusal, 0.0, {})
        else:
            inputs = inputs_of(step, made)
            assert inputs is not None, f"{step.name} stands before a step that it reads from"
            outcome = perform(request, store, step.name, inputs)
            made[step.name] = outcome.outputs
        outcomes[step.name] = outcome
        tell(outcome)
    return outcomes


def unchanged(planned: list[Planned], store: Store) -> dict[str, Outcome] | None:
    """The outcomes of a run that has nothing to do; None when a step must run or may have to."""
    if any(step.action in ("run", "waits") for step in planned):
        return None
    return {
        p.step.name: Outcome(
            p.step.name, p.action, p.why, 0.0, p.outputs or {}, figure(p.step.name, store, p.outputs or {})
        )
        for p in planned
    }
