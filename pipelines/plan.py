"""Step keys, and what must run and why.

A key holds whatever can change a step's outputs; a step whose key is in the store, with artifacts that are there and
whole, does not run again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.interchange.artifact import to_json
from components.interchange.blobs import open_blobs
from components.interchange.champion import current, opponent, read_pointer
from components.interchange.errors import listed
from components.interchange.step import given_parameters
from pipelines import fingerprints
from pipelines.parameters import Values, nowhere, spec_of
from pipelines.run_options import Runner, RunOptions, Strategy
from pipelines.source_listing import source_listing
from pipelines.steps import Step, graph_for
from pipelines.store import Store

FORCED = "asked for by --force"


@dataclass(frozen=True)
class Request:
    """What a run was asked for: plain values, so that any engine can carry it.

    `values` are parameters by step; the steps of `force` run though their keys are in the store. The images are for the
    runner `docker`.
    """

    run_id: str
    store: str
    model_name: str
    recipe: str
    strategy: Strategy
    runner: Runner
    values: dict[str, Values]
    force: tuple[str, ...] = ()
    image_prefix: str = RunOptions.image_prefix
    image_tag: str | None = None


@dataclass(frozen=True)
class Planned:
    """What is to be done with a step. `waits`: its inputs are not known before another step has run.

    `outputs` maps port to digest where they are known; `key` and `parts` are None while it waits.
    """

    step: Step
    action: Literal["unchanged", "run", "waits", "skip"]
    why: str
    outputs: dict[str, str] | None = None
    key: str | None = None
    parts: dict[str, Any] | None = None


def key_of(parts: Mapping[str, Any]) -> str:
    """A step's key: sha256 of its parts as canonical JSON."""
    return hashlib.sha256(to_json(parts).encode()).hexdigest()


def parts_of(request: Request, store: Store, step: Step, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Everything that can change a step's outputs, given the digests of its inputs. BadInput on wrong parameters."""
    values = request.values.get(step.name, {})
    spec = spec_of(step, values, nowhere(step))
    parts: dict[str, Any] = {
        "step": step.name,
        "parameters": given_parameters(spec),
        "inputs": dict(inputs),
        "code": fingerprints.code_of(step.name),
        "versions": fingerprints.versions_of(step.extra),
    }
    given = spec.model_dump()
    if step.name == "ingest":
        parts["source"] = source_listing(given["source"], given["image_column"])
        if given["test_manifest"] is not None:
            parts["test_manifest"] = source_listing(given["test_manifest"], given["image_column"], "--test-manifest")
        parts["champion"] = _lineage(request, store, step, parts)
    if step.name in ("feature_extraction", "finetune"):
        parts["weights"] = fingerprints.weights(
            given["weights"], given["backbone"], given["weights_sha256"], request.store
        )
        parts["device"] = fingerprints.device_kind(given["device"])
    if step.name == "feature_extraction":
        parts["champion"] = _lineage(request, store, step, parts)
    if step.name == "latency":
        parts["processor"] = fingerprints.processor()
        parts["num_threads"] = fingerprints.num_threads(given["num_threads"])
        parts["provider"] = fingerprints.provider(given["device"])
    if step.name == "evaluate":
        contenders = [digest for port, digest in inputs.items() if port in ("baseline", "candidate")]
        champion = opponent(request.store, request.model_name, contenders)
        parts["champion"] = champion.digest if champion else None
    if step.name == "gate":
        pointer = read_pointer(open_blobs(request.store), request.model_name)
        parts["rolled_back"] = pointer[0].rolled_back_models() if pointer else {}
    return parts


def look_up(request: Request, store: Store, step: Step, inputs: Mapping[str, str]) -> Planned:
    """Whether a step with these inputs must run, and why."""
    if step.name == "promote":
        return _promotion(request, step, inputs)
    parts = parts_of(request, store, step, inputs)
    key = key_of(parts)
    if step.name in request.force:
        return Planned(step, "run", FORCED, key=key, parts=parts)
    outputs = store.outputs_of(key)
    if outputs is None:
        return Planned(
            step, "run", _difference(store.parts_of_latest(request.model_name, step.name), parts), key=key, parts=parts
        )
    damage = [fault for digest in outputs.values() for fault in store.damage(digest)]
    if damage:
        return Planned(step, "run", listed(damage), key=key, parts=parts)
    return Planned(step, "unchanged", "unchanged", outputs, key, parts)


def _lineage(request: Request, store: Store, step: Step, parts: Mapping[str, Any]) -> str | None:
    """The champion whose images a step goes by. One made from these very inputs tells nothing new: as before it."""
    champion = current(request.store, request.model_name)
    latest = store.parts_of_latest(request.model_name, step.name)
    if champion is None or latest is None or {**latest, "champion": None} != {**parts, "champion": None}:
        return champion.digest if champion else None
    known = {**parts["inputs"], **(store.outputs_of(key_of(latest)) or {})}
    ours = known.get("dataset") == champion.record.dataset_digest
    before: str | None = latest["champion"]
    return before if ours else champion.digest


def _promotion(request: Request, step: Step, inputs: Mapping[str, str]) -> Planned:
    """Promote has no key: what counts is where the champion's pointer points now."""
    if step.name in request.force:
        return Planned(step, "run", FORCED)
    pointer = current(request.store, request.model_name)
    if pointer is not None and pointer.digest == inputs["onnx_model"]:
        return Planned(step, "unchanged", "the champion is this model already", {})
    return Planned(step, "run", "the champion is another model" if pointer else "there is no champion yet")


def inputs_of(step: Step, made: Mapping[str, Mapping[str, str]]) -> dict[str, str] | None:
    """Digests of a step's inputs by port, from the outputs made so far; None while one is not known."""
    refs = {port: ref.split(".") for port, ref in step.inputs.items()}
    if any(source not in made for source, _ in refs.values()):
        return None
    return {port: made[source][output] for port, (source, output) in refs.items()}


def plan(request: Request, store: Store) -> list[Planned]:
    """Every step of a run in order, with what can be said before anything has run."""
    made: dict[str, dict[str, str]] = {}
    skipped: dict[str, str] = {}
    found = []
    for step in graph_for(request.strategy):
        planned = _planned(request, store, step, made, skipped)
        if planned.action == "skip":
            skipped[step.name] = planned.why
        elif planned.outputs is not None:
            made[step.name] = planned.outputs
        found.append(planned)
    return found


def _planned(
    request: Request, store: Store, step: Step, made: Mapping[str, Mapping[str, str]], skipped: Mapping[str, str]
) -> Planned:
    spec_of(step, request.values.get(step.name, {}), nowhere(step))
    refusal = refused(step, store, made, skipped)
    if refusal:
        return Planned(step, "skip", refusal)
    inputs = inputs_of(step, made)
    if inputs is None:
        awaited = dict.fromkeys(ref.split(".")[0] for ref in step.inputs.values() if ref.split(".")[0] not in made)
        return Planned(step, "waits", f"after {listed(awaited)}")
    return look_up(request, store, step, inputs)


def refused(step: Step, store: Store, made: Mapping[str, Mapping[str, str]], skipped: Mapping[str, str]) -> str | None:
    """Why a step is skipped; None when it may run, or when what decides has not run yet.

    `skipped` are the steps that were skipped so far, and why.
    """
    sources = [ref.split(".")[0] for ref in step.inputs.values()]
    cause = next((skipped[source] for source in sources if source in skipped), None)
    if cause is not None or step.only_on is None:
        return cause
    source, output = step.only_on.verdict.split(".")
    if source not in made:
        return None
    word = store.word(made[source][output])
    return None if word == step.only_on.word else step.only_on.otherwise.format(word=word)


def _difference(earlier: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """What is new since the last run, in words."""
    if earlier is None:
        return "not run before"
    changes = []
    for part, value in now.items():
        was = earlier.get(part)
        if was == value:
            continue
        if isinstance(value, dict) and isinstance(was, dict):
            names = sorted(name for name in value.keys() | was.keys() if value.get(name) != was.get(name))
            changes += [_change(part, name, was.get(name), value.get(name)) for name in names]
        else:
            changes.append(_change(part, "", was, value))
    return f"changed: {listed(dict.fromkeys(changes))}" if changes else "not run before"


def _change(part: str, name: str, was: Any, now: Any) -> str:
    if part in ("parameters", "versions"):
        return f"{name} {was} -> {now}"
    return f"{part} {name}".strip() if part in ("inputs", "code") else part
