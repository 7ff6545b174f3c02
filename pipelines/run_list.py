"""The runs of a store, newest first, each read only when it is asked for."""

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from components.interchange.errors import BadInput

UNFINISHED = "unfinished"  # Under way, or interrupted before its summary.


def newest_first(root: Path) -> list[str]:
    """Ids of a store's runs. An id begins with its time, so that names sort like starts."""
    try:
        return sorted((entry.name for entry in os.scandir(root / "runs") if entry.is_dir()), reverse=True)
    except FileNotFoundError:
        return []


def runs(root: Path, model_name: str | None, limit: int) -> list[dict[str, Any]]:
    """What the newest runs came to: verdict, test top-1, p99_ms at batch 1, seconds. None where it is not known.

    No more summaries are read than it takes to find `limit` runs (0: all) of the model name (None: of any).
    """
    found = (_run(root / "runs" / run_id) for run_id in newest_first(root))
    wanted = (run for run in found if model_name in (None, run["model_name"]))
    return list(islice(wanted, limit or None))


def _run(folder: Path) -> dict[str, Any]:
    summary = read(folder / "summary.json") or {}
    request = {} if "model_name" in summary else read(folder / "request.json") or {}
    test, latency, seconds = (summary.get(name) or {} for name in ("test", "latency", "seconds"))
    return {
        "run_id": folder.name,
        "model_name": summary.get("model_name", request.get("model_name")),
        "verdict": summary.get("verdict", UNFINISHED),
        "selected": summary.get("selected"),
        "baseline_top1": test.get("baseline_top1"),
        "candidate_top1": test.get("candidate_top1"),
        "p99_ms": latency.get("p99_ms"),
        "seconds": seconds.get("total"),
        "reasons": summary.get("reasons", []),
    }


def read(path: Path) -> dict[str, Any] | None:
    """A record of a run; None where there is none, BadInput where it is damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise BadInput(f"{path} is damaged: expected a JSON object. Remove it, or the run's folder.") from None


def outputs(folder: Path) -> Iterator[str]:
    """Digests of every artifact that a run made or found; none where it did not come to its end."""
    steps = read(folder / "steps.json")
    for step in (steps or {}).get("steps", {}).values():
        yield from step["outputs"].values()
