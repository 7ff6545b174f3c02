"""What a run is at, from what it has in the store: its request, the steps that are done, and signs of life."""

from datetime import UTC, datetime
from typing import Any

from components.interchange.errors import BadInput, near, on_one_line
from components.interchange.heartbeat import heartbeat_prefix
from pipelines import run_list
from pipelines.run_order import newest_first
from pipelines.store import Store

SILENT_S = 60.0  # A step beats every few seconds while a loop runs; one long computation may be silent for longer.
SAID = {"step", "state", "when"}
SAID_IN_A_LOOP = {"done", "total", "unit", "rate", "seconds_left"}


def status(store: Store, run_id: str | None) -> dict[str, Any]:
    """The verdict of a run, by default the newest, and its steps' last beats.

    The verdict is `unfinished` while somebody is at work on it, and `killed` where it ended without a word.
    """
    known = newest_first(store)
    if not known:
        raise BadInput(f"--store {store.uri}: there is no run in it yet.")
    chosen = run_id or known[0]
    if chosen not in known:
        raise BadInput(f"--store {store.uri}: no run {chosen!r}.{near(chosen, known)} See graft runs.")
    summary, request = run_list.ended_or_not(store, chosen)
    found = (store.record(key) for key in store.blobs.list(heartbeat_prefix(chosen)))
    beats = [beat for beat in found if beat is not None and _is_whole(beat)]
    return {
        "run_id": chosen,
        "model_name": summary.get("model_name", request.get("model_name")),
        "verdict": summary["verdict"],
        "reasons": summary.get("reasons", []),
        "steps": [_shown(beat) for beat in sorted(beats, key=lambda beat: str(beat["when"]))],
    }


def _is_whole(beat: dict[str, Any]) -> bool:
    """Whether it says what a sign of life does; another was cut off, or is not ours."""
    said = SAID | (SAID_IN_A_LOOP if "label" in beat else set())
    try:
        return said <= beat.keys() and datetime.fromisoformat(beat["when"]).tzinfo is not None
    except (ValueError, TypeError):
        return False


def _shown(beat: dict[str, Any]) -> dict[str, Any]:
    when = datetime.fromisoformat(beat["when"])
    age_s = (datetime.now(UTC) - when).total_seconds()
    silent = beat["state"] in ("started", "at work") and age_s > SILENT_S
    return {**beat, "state": "silent" if silent else beat["state"], "age_s": round(age_s, 1)}


def lines(found: dict[str, Any]) -> list[str]:
    """The same for a person: a line for the run, a line a step."""
    reasons = f": {found['reasons'][0]}" if found["reasons"] else ""
    told = [f"{found['run_id']} {found['model_name']}: {found['verdict']}{reasons}"]
    for step in found["steps"]:
        words = [f"{step['step']:<20}{step['state']:<12}"]
        if "label" in step:
            of = f"/{step['total']}" if step["total"] is not None else ""
            words += [f"{step['label']}: {step['done']}{of} {step['unit']}, {step['rate']:g} a second"]
            words += [f", {step['seconds_left']:.0f} s left"] if step["seconds_left"] is not None else []
        told.append(f"{''.join(words)} ({_ago(step['age_s'])})")
    return list(map(on_one_line, told))


def _ago(seconds: float) -> str:
    """When a sign of life was given; one from the future comes from a machine whose clock is ahead of this one's."""
    return f"{_span(max(seconds, 0))} ago" if seconds > -1 else f"{_span(-seconds)} in the future: two clocks differ"


def _span(seconds: float) -> str:
    """A time span as people say it: 12 s, 7 min, 3 h 5 min, 2 days."""
    minutes, hours, days = (int(seconds // one) for one in (60, 3600, 86400))
    if days >= 2:
        return f"{days} days"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if seconds >= 120 else f"{seconds:.0f} s"
