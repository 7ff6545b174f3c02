"""One whole run: lock, plan, engine, summary. The command line above it only parses and prints."""

import contextlib
import dataclasses
import importlib.util
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from components.interchange.champion import pointer_key
from components.interchange.cli import terminated_by_exception
from components.interchange.errors import BadInput
from components.interchange.summary import Ending, summary_of
from pipelines import metrics, recipes
from pipelines.lease import lease
from pipelines.lock import no_run, only_run
from pipelines.notify import notify
from pipelines.parameters import Values, for_backbone, forced_steps, merged, parsed, seeded, values_of
from pipelines.plan import Planned, Request, plan
from pipelines.run_options import Engine, RunOptions, Strategy
from pipelines.runner import Outcome, StepFailed, Tell, grace_s, loop, unchanged
from pipelines.source_listing import check_named
from pipelines.steps import graph_for
from pipelines.store import DamagedArtifact, Store, open_store
from pipelines.summary import build

Announce = Callable[[list[Planned]], None]
Summed = tuple[dict[str, Any], str]  # A run's summary, and the word of its gate.
log = logging.getLogger("graft")
MENDED = 3  # Times that a run makes damaged artifacts again.


def new_run_id() -> str:
    """Sortable by time (UTC, as machines of several zones may share a store), different for two runs of one second."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def request_for(asked: RunOptions) -> Request:
    """What was asked for on the command line. Later wins: recipe, backbone, seed, set, force."""
    check_named(asked.source)
    place = asked.source if "://" in asked.source else str(Path(asked.source).absolute())
    more = {"source": place} | ({"on_drift": asked.on_drift} if asked.on_drift else {})
    values = values_for(asked.recipe, asked.backbone, asked.strategy, asked.seed, asked.set, {"ingest": more})
    if asked.metrics:
        metrics.check(Path(asked.metrics))
    if asked.runner == "docker" and asked.image_tag is None:
        raise BadInput("--runner docker: which images? Give --image-tag, as make images has printed it.")
    forced = forced_steps(asked.force, graph_for(asked.strategy))
    if "promote" in forced:
        values["gate"]["allow_rolled_back"] = True
    return Request(
        run_id=new_run_id(),
        store=open_store(asked.store).uri,
        model_name=asked.model_name,
        recipe=asked.recipe,
        strategy=asked.strategy,
        runner=asked.runner,
        values=values,
        force=forced,
        image_prefix=asked.image_prefix,
        image_tag=asked.image_tag,
    )


def values_for(
    recipe: str,
    backbone: str | None,
    strategy: Strategy,
    seed: int | None,
    assignments: Sequence[str],
    more: Mapping[str, Values],
) -> dict[str, Values]:
    """Parameter values by step. Later wins: recipe, backbone, seed, `more`, assignments."""
    chosen, graph = recipes.recipe(recipe), graph_for(strategy)
    given = parsed(assignments, graph)
    other = for_backbone(backbone, chosen, graph, given) if backbone is not None else {}
    seeds = seeded(graph, seed) if seed is not None else {}
    return values_of(chosen, graph, merged(other, seeds, more, given))


def attempt(asked: RunOptions, tell: Tell, announce: Announce) -> Summed:
    """`run` what was asked for; notify whom it names and write the figures for Prometheus, however it ends.

    But for Ctrl-C: whoever pressed it knows.
    """
    request = request_for(asked)
    try:
        summary, verdict = run(request, asked.engine, tell, announce)
    except (Exception, SystemExit) as error:
        name, ending = request.model_name, _broken_off(error)
        told = summary_of(request.run_id, {}, model_name=name, model=None, page=None, seconds={}, ending=ending)
        _hand_over(asked, told)
        raise
    _hand_over(asked, summary)
    return summary, verdict


def _hand_over(asked: RunOptions, summary: dict[str, Any]) -> None:
    if asked.metrics:
        metrics.write(Path(asked.metrics), summary)
    if asked.notify:
        notify(asked.notify, summary)


def run(request: Request, engine: Engine, tell: Tell, announce: Announce) -> Summed:
    """Do what is to be done; the summary, which is also in the store, and the gate's verdict.

    The summary's own verdict is `unchanged` when there was nothing to do. BadInput and StepFailed tell of what a user
    can mend. KeyboardInterrupt leaves no process behind.
    """
    started = time.monotonic()
    pointer_key(request.model_name)  # Refuses a name that is no file name.
    grace_s()  # Refuses what is no number, before anything runs.
    store = open_store(request.store)
    with (
        _room_made(store),
        only_run(store.root, request.model_name, request.run_id),
        lease(store, request.model_name, request.run_id),
        terminated_by_exception(),
    ):
        store.sweep()  # A run that finds nothing to do makes nothing, and would leave it.
        store.put_record(f"runs/{request.run_id}/request.json", dataclasses.asdict(request))
        for tries_left in reversed(range(MENDED + 1)):
            try:
                return _done(request, store, engine, tell, announce, started)
            except DamagedArtifact as error:
                if not tries_left:
                    raise
                log.warning("graft: %s", error)
            except (Exception, KeyboardInterrupt, SystemExit) as error:
                with contextlib.suppress(Exception):  # The store itself may be what failed.
                    _put_end(request, store, error, started)
                raise
        raise AssertionError("the last try returns or raises")


def _done(request: Request, store: Store, engine: Engine, tell: Tell, announce: Announce, started: float) -> Summed:
    planned = plan(request, store)
    announce(planned)
    outcomes = unchanged(planned, store)
    for outcome in (outcomes or {}).values():
        tell(outcome)
    summed = partial(_summed, request, store, outcomes is not None, started)
    if outcomes is not None:
        return summed(outcomes)
    return summed(loop(request, store, tell)) if engine == "none" else _under_prefect(request, store, summed)


def _words(error: Exception) -> str:
    """Why a run failed; of what nobody foresaw, its kind too."""
    return str(error) if isinstance(error, StepFailed | BadInput) else f"{type(error).__name__}: {error}"


def _broken_off(error: BaseException) -> Ending:
    """Why a run did not come to its end. What ends a program early is Ctrl-C or SIGTERM."""
    if isinstance(error, Exception):
        return Ending("failed", [_words(error)])
    by = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else "SIGTERM"
    return Ending("interrupted", [f"ended by {by}; the same command goes on from its last step"])


def _put_end(request: Request, store: Store, error: BaseException, started: float) -> None:
    """The summary of a run that did not come to its end. Who ended it does not wait for another look at the source."""
    done = {}
    if isinstance(error, Exception):
        with contextlib.suppress(Exception):  # What failed may be the very first look at the source, or at the store.
            done = {planned.step.name: planned.outputs for planned in plan(request, store) if planned.outputs}
    seconds = {"total": round(time.monotonic() - started, 3)}
    summary = build(request.run_id, store, done, seconds, model_name=request.model_name, ending=_broken_off(error))
    store.put_record(f"runs/{request.run_id}/summary.json", summary)


def _summed(
    request: Request, store: Store, nothing_to_do: bool, started: float, outcomes: Mapping[str, Outcome]
) -> Summed:
    made = {name: outcome.outputs for name, outcome in outcomes.items()}
    seconds = {name: round(outcome.seconds, 3) for name, outcome in outcomes.items()}
    seconds["total"] = round(time.monotonic() - started, 3)
    ending = Ending("unchanged") if nothing_to_do else None
    summary = build(request.run_id, store, made, seconds, model_name=request.model_name, ending=ending)
    steps = {name: dataclasses.asdict(outcome) for name, outcome in outcomes.items()}
    store.put_record(f"runs/{request.run_id}/steps.json", {"request": dataclasses.asdict(request), "steps": steps})
    store.put_record(f"runs/{request.run_id}/summary.json", summary)
    gate = outcomes["gate"].outputs
    return summary, store.word(gate["verdict"]) if gate else "keep"  # Without a gate, drift has ended the run.


def _under_prefect(request: Request, store: Store, summed: Callable[[Mapping[str, Outcome]], Summed]) -> Summed:
    if importlib.util.find_spec("prefect") is None:
        raise BadInput("Prefect is not installed. Install graft[prefect], or run with --engine none.")
    from pipelines.prefect_server import NOBODYS, prefect_api

    # A handler with a format of its own, or importing Prefect replaces it. Of libraries, warnings only.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("graft").setLevel(logging.INFO)

    def drain() -> None:
        if "prefect" in sys.modules:
            from pipelines.prefect_adapter import drain as drain_client

            drain_client()

    lasts = bool(os.environ.get("PREFECT_API_URL"))  # A server whose UI somebody may look at afterwards.
    with prefect_api(store.root / "prefect", drain) as wait_until_up:
        with contextlib.chdir(NOBODYS):
            from pipelines.prefect_adapter import sigterm_as_exit
            from pipelines.prefect_flow import graft

        wait_until_up()
        with sigterm_as_exit():
            outcomes, flow_run_id = graft(dataclasses.asdict(request))
        summary, verdict = summed(outcomes)
        if lasts:
            from pipelines.prefect_artifacts import show

            show(summary, outcomes, flow_run_id)
        return summary, verdict


@contextmanager
def _room_made(store: Store) -> Iterator[None]:
    """Afterwards the local copies of a store on S3 keep their limit, unless other runs here are still at work."""
    try:
        yield
    finally:
        if not store.in_place:
            with contextlib.suppress(BadInput), no_run(store.root, "making room"):
                store.make_room()
