"""The order of a store's runs in time.

index/began.json  when runs on a cluster began, as far as it was asked before; made again where it is gone
"""

import contextlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from components.interchange.artifact import to_json
from components.interchange.errors import BadInput
from pipelines.store import Store

BEGAN = "index/began.json"
READ_AT_ONCE = 16
TIME = "%Y%m%d-%H%M%S"
BEGINS_WITH_TIME = re.compile(r"\d{8}-\d{6}-")


def newest_first(store: Store) -> list[str]:
    """Ids of a store's runs. They begin with their time, but for those of a cluster, which names them itself."""
    ids = store.blobs.children("runs")
    began = _began(store, [run_id for run_id in ids if not BEGINS_WITH_TIME.match(run_id)])
    return sorted(ids, key=lambda run_id: f"{began.get(run_id, '')}{run_id}", reverse=True)


def _began(store: Store, of_cluster: Iterable[str]) -> dict[str, str]:
    """When runs wrote their first, in UTC, by the store's clock. What is known is not asked for again."""
    there = set(of_cluster)
    if not there:
        return {}
    record = store.record(BEGAN) or {}
    known = {run_id: when for run_id, when in record.items() if run_id in there and isinstance(when, str)}
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        unknown = sorted(there - known.keys())
        found = known | dict(zip(unknown, pool.map(lambda run_id: _first_written(store, run_id), unknown), strict=True))
    if found != record:
        with contextlib.suppress(BadInput):  # Who may only read lists the runs as well; it takes longer.
            store.blobs.put(BEGAN, to_json(found).encode())
    return found


def _first_written(store: Store, run_id: str) -> str:
    return min((when.strftime(TIME) for _, when in store.blobs.entries(f"runs/{run_id}/").values()), default="")
