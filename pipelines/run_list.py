"""The runs of a store, newest first, each read only when it is asked for.

index/runs.json  what the summaries of ended runs said when they were last listed; made again where it is gone
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.interchange.artifact import to_json
from components.interchange.errors import BadInput, what_is_wrong
from pipelines.lease import holder
from pipelines.run_order import READ_AT_ONCE, newest_first
from pipelines.store import Store, record_in

UNFINISHED = "unfinished"  # Under way.
KILLED = "killed"  # No summary, and nobody at work on it.
DAMAGED = "damaged"  # A summary that cannot be read: known again once it is mended or removed.
INDEX = "index/runs.json"


class DamagedRecord(BadInput):
    """A record of a run that is no JSON object, or says something else than expected."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Test(_Strict):
    baseline_top1: float | None = None
    candidate_top1: float | None = None
    digest: str | None = None
    evaluation: str | None = None


class _Latency(_Strict):
    p99_ms: float | None = None


class _Summary(_Strict):
    """Of a run's summary, what others rely on."""

    verdict: str
    model_name: str | None = None
    reasons: list[str] = []
    selected: str | None = None
    test: _Test | None = None
    latency: _Latency | None = None
    seconds: dict[str, float | None] | None = None


class _Request(_Strict):
    model_name: str


def runs(store: Store, model_name: str | None, limit: int) -> list[dict[str, Any]]:
    """What the newest runs came to: verdict, test top-1, p99_ms at batch 1, seconds. None where it is not known.

    No more summaries are read than it takes to find `limit` runs (0: all) of the model name (None: of any), and none
    of a run that was listed before with its verdict.
    """
    ids, known = newest_first(store), _index(store)
    found: dict[str, dict[str, Any]] = {}

    def seen() -> Iterator[dict[str, Any]]:
        for run in _read(store, ids, known):
            found[run["run_id"]] = run
            yield run

    wanted = (run for run in seen() if model_name in (None, run["model_name"]))
    listed = list(islice(wanted, limit or None))
    ended = {run_id: run for run_id, run in found.items() if run["verdict"] not in (UNFINISHED, KILLED, DAMAGED)}
    if not ended.keys() <= known.keys():
        kept = {run_id: known[run_id] for run_id in known.keys() & set(ids)}
        with contextlib.suppress(BadInput):  # Who may only read lists the runs as well; it takes longer.
            store.blobs.put(INDEX, to_json({"runs": kept | ended}).encode())
    return listed


def _read(store: Store, ids: Iterable[str], known: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    waiting = iter(ids)
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        while some := list(islice(waiting, READ_AT_ONCE)):
            unknown = [run_id for run_id in some if run_id not in known]
            read_now = pool.map(partial(_run, store), unknown) if unknown else iter(())
            for run_id in some:
                yield known.get(run_id) or next(read_now)


def _index(store: Store) -> dict[str, dict[str, Any]]:
    known = (store.record(INDEX) or {}).get("runs")
    return known if isinstance(known, dict) else {}


def _run(store: Store, run_id: str) -> dict[str, Any]:
    summary, request = ended_or_not(store, run_id)
    test, latency, seconds = (summary.get(name) or {} for name in ("test", "latency", "seconds"))
    return {
        "run_id": run_id,
        "model_name": summary.get("model_name", request.get("model_name")),
        "verdict": summary["verdict"],
        "selected": summary.get("selected"),
        "baseline_top1": test.get("baseline_top1"),
        "candidate_top1": test.get("candidate_top1"),
        "p99_ms": latency.get("p99_ms"),
        "seconds": seconds.get("total"),
        "test_digest": test.get("digest"),
        "evaluation": test.get("evaluation"),
        "reasons": summary.get("reasons", []),
    }


def ended_or_not(store: Store, run_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run's summary, and its request where the summary has no model name. One without a summary gets a verdict.

    `damaged`: its summary or request cannot be read, which is no other run's fault.
    `unfinished`: at work, as its lease says, or on a cluster, which writes a summary whatever becomes of the run.
    `killed`: it ended without a word. It may become another verdict only where its machine was out of reach for long.
    """
    try:
        return _ended_or_not(store, run_id)
    except DamagedRecord as error:
        return {"verdict": DAMAGED, "reasons": [str(error)]}, {}


def _ended_or_not(store: Store, run_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    summary = summary_of(store, run_id) or {}
    if "model_name" in summary:
        return summary, {}
    request = read(store, f"runs/{run_id}/request.json", _Request) or {}
    if summary or "runner" not in request:
        return {"verdict": UNFINISHED, **summary}, request
    at_work = holder(store, request["model_name"])
    if at_work is not None and at_work["run_id"] == run_id:
        return {"verdict": UNFINISHED}, request
    summary = summary_of(store, run_id) or {}  # It may have ended between the two looks.
    why = (
        "it ended without a word: killed, or its machine went down, or the store was out of reach. The same command "
        "goes on from its last step"
    )
    return summary or {"verdict": KILLED, "reasons": [why]}, request


def summary_of(store: Store, run_id: str) -> dict[str, Any] | None:
    """A run's summary; None where there is none yet, DamagedRecord where it is damaged."""
    return read(store, f"runs/{run_id}/summary.json", _Summary)


def read(store: Store, key: str, shape: type[BaseModel] | None = None) -> dict[str, Any] | None:
    """A record of a run; None where there is none, DamagedRecord where it is damaged, or not of that shape."""
    data = store.blobs.get(key)
    if data is None:
        return None
    found, wrong = record_in(data), "expected a JSON object"
    if found is not None and shape is not None:
        try:
            shape.model_validate(found)
        except ValidationError as error:
            found, wrong = None, what_is_wrong(error)
    if found is None:
        raise DamagedRecord(f"{store.where(key)} is damaged: {wrong}. Remove it, or the run's folder.")
    return found


def outputs(store: Store, run_id: str) -> Iterator[str]:
    """Digests of every artifact that a run made or found; none where it did not come to its end."""
    steps = read(store, f"runs/{run_id}/steps.json")
    for step in (steps or {}).get("steps", {}).values():
        yield from step["outputs"].values()
