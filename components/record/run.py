"""Record: the order of work. It must succeed for every run that failed, however early."""

import logging
import time

from components.interchange.artifact import to_json
from components.interchange.blobs import open_blobs
from components.interchange.errors import BadInput
from components.interchange.report import PAGE
from components.interchange.run_page import run_page
from components.interchange.run_reports import published_model, reports_of, why_failed
from components.interchange.step import RunContext
from components.interchange.summary import summary_of
from components.record.ending import ending_of
from components.record.spec import Record

log = logging.getLogger("graft")


def run(spec: Record, context: RunContext) -> None:
    """Read what reports there are; write runs/<run_id>/summary.json, then the run's page beside it.

    Of a run that came to its end, the training's checkpoint goes: nobody takes it up again.
    """
    if context.store is None or context.run_id is None:
        raise BadInput("record writes to the store: give --store and --run-id.")
    blobs = open_blobs(context.store)
    kept = reports_of(blobs, context.run_id)
    reports = {step: one.report for step, one in kept.items()}
    seconds = {step: round(one.seconds, 3) for step, one in kept.items()}
    started = min((one.started for one in kept.values()), default=time.time())
    seconds["total"] = round(time.time() - started, 3)
    folder = f"runs/{context.run_id}"
    summary = summary_of(
        context.run_id,
        reports,
        model_name=context.model_name,
        model=published_model(blobs, reports.get("promote")),
        page=f"{blobs.uri}/{folder}/{PAGE}",
        seconds=seconds,
        ending=ending_of(spec.status, reports, why_failed(blobs, context.run_id)),
    )
    blobs.put(f"{folder}/summary.json", to_json(summary).encode())
    pages = [f"reports/{step}/{PAGE}" for step, one in kept.items() if one.has_page]
    blobs.put(f"{folder}/{PAGE}", run_page(summary, reports, pages).encode())
    if summary["verdict"] != "failed":
        blobs.delete_folder(f"checkpoints/{context.run_id}")
    log.info("run_id=%s verdict=%s", context.run_id, summary["verdict"])
