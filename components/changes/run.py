"""Changes: the order of work. A run that would only repeat the champion's is told so before it trains."""

import logging

from components.changes.comparison import asked_before, differences
from components.changes.spec import Changes
from components.interchange.artifact import to_json
from components.interchange.blobs import open_blobs
from components.interchange.champion import read_pointer
from components.interchange.errors import BadInput
from components.interchange.report import Row, write_report
from components.interchange.step import RunContext, given_parameters

log = logging.getLogger("graft")


def run(spec: Changes, context: RunContext) -> None:
    """Note what this run was asked for, and compare it with what the champion's run was asked for."""
    if context.store is None or context.run_id is None:
        raise BadInput("changes compares with the store's champion: give --store and --run-id.")
    blobs, asked = open_blobs(context.store), given_parameters(spec)
    request = {"run_id": context.run_id, "model_name": context.model_name, "engine": "kubeflow", "asked": asked}
    blobs.put(f"runs/{context.run_id}/request.json", to_json(request).encode())
    found = read_pointer(blobs, context.model_name)
    before = None if found is None else asked_before(blobs, found[0].run_id)
    changed = differences(before, asked)
    word = "changed" if changed else "unchanged"
    log.info("changes=%s %s", word, "; ".join(changed) or "the champion was made from the same")
    spec.word.write_text(word, encoding="utf-8")  # No newline: Kubeflow compares the file as it is.
    details = {"word": word, "changed": changed, "champion": None if found is None else found[0].digest}
    write_report(spec.report, spec, [Row(name="changed", value=len(changed))], details)
