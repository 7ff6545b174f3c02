"""What a run leaves in its records beside the summary: its page, and the pages of its steps.

runs/<run_id>/report.html  runs/<run_id>/<step>.html
"""

from collections.abc import Mapping
from typing import Any

from components.interchange.errors import BadInput
from components.interchange.report import PAGE, Report, read_report
from pipelines.run_list import runs, summary_of
from pipelines.run_order import newest_first
from pipelines.store import Store

Outputs = Mapping[str, Mapping[str, str]]


def page_key(run_id: str) -> str:
    """Where a run's page lies in the store."""
    return f"runs/{run_id}/{PAGE}"


def reports_of(store: Store, outputs: Outputs) -> dict[str, Report]:
    """The reports of a run by step, from its outputs (step -> port -> digest)."""
    return {step: read_report(store.artifact(made["report"])) for step, made in outputs.items() if "report" in made}


def put_pages(store: Store, summary: Mapping[str, Any], outputs: Outputs) -> None:
    """Write the page of a run, and beside it copies of those that its steps have made."""
    from components.interchange.run_page import run_page

    folder = f"runs/{summary['run_id']}"
    own = {step: store.artifact(made["report"]) / PAGE for step, made in outputs.items() if "report" in made}
    own = {step: path for step, path in own.items() if path.is_file()}
    for step, path in own.items():
        store.blobs.put_file(f"{folder}/{step}.html", path)
    html = run_page(summary, reports_of(store, outputs), [f"{step}.html" for step in own])
    store.blobs.put(page_key(summary["run_id"]), html.encode())


def looks_at_test_set(store: Store, summary: Mapping[str, Any]) -> int:
    """How many different evaluations of this store looked at the run's test set, this one included.

    An evaluation that was found again is the same look; one whose digest is not known counts as its run.
    """
    test = summary["test"]
    looks = {test["evaluation"]}
    looks |= {
        run["evaluation"] or run["run_id"] for run in runs(store, None, 0) if run.get("test_digest") == test["digest"]
    }
    return len(looks)


def page_of(store: Store, run: str) -> str:
    """Where the page of a run lies; `latest` is the newest run that has one. BadInput when there is none."""
    ids = newest_first(store)
    candidates = ids if run == "latest" else [run]
    found = next((one for one in candidates if store.blobs.get(page_key(one)) is not None), None)
    if found is not None:
        return store.where(page_key(found))
    if run == "latest":
        raise BadInput(f"{store.uri} has no run with a page yet. graft run makes one at its end.")
    if run not in ids:
        raise BadInput(f"{store.uri} has no run {run}. `graft runs` lists them.")
    ended = summary_of(store, run) is not None
    why = "it was made before runs had pages" if ended else "it is under way, or was interrupted"
    raise BadInput(f"run {run} has no page: {why}.")
