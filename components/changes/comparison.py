"""Two runs compared by what they were asked for."""

import json
from collections.abc import Mapping
from typing import Any

from components.interchange.blobs import Blobs


def asked_before(blobs: Blobs, run_id: str | None) -> dict[str, Any] | None:
    """What an earlier run on a cluster was asked for; None where that is not known, as of a run from elsewhere."""
    data = None if run_id is None else blobs.get(f"runs/{run_id}/request.json")
    try:
        return dict(json.loads(data)["asked"]) if data is not None else None
    except (ValueError, KeyError, TypeError):
        return None  # Not ours, or cut off: as good as not known, and everything runs.


def differences(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """What differs, in words; empty where nothing does."""
    if before is None:
        return ["there is no champion whose run is known"]
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return [f"{name.replace('_', ' ')} {before.get(name)} -> {now.get(name)}" for name in names]
