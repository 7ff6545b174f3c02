"""promote: publish the model, then swap the champion pointer; only on the verdict `promote`, only once."""

import logging

from components.interchange.artifact import digest
from components.interchange.blobs import open_blobs
from components.interchange.cards import read_onnx_card
from components.interchange.champion import model_prefix, read_pointer, swap_pointer
from components.interchange.errors import BadInput
from components.interchange.report import Row, read_report, write_report
from components.interchange.step import RunContext
from components.promote.approval import approval
from components.promote.spec import Promote
from components.promote.succession import check_not_rolled_back, check_unchanged, new_record, winner

log = logging.getLogger("graft")


def run(spec: Promote, context: RunContext) -> dict[str, object]:
    """The pointer is written last: whoever reads it finds the model whole."""
    approved = approval(read_report(spec.gate_report))
    if context.store is None:
        raise BadInput("promote needs a store to publish to: give --store FOLDER or s3://BUCKET/PREFIX.")
    card, model = read_onnx_card(spec.onnx_model), digest(spec.onnx_model)
    if model != approved.model:
        raise BadInput(
            f"{spec.onnx_model} is not the model that the gate judged: digest {model}, expected {approved.model}. "
            "It was altered since, or is of another run: run the steps again in order."
        )
    if not card.eligible:
        raise BadInput(f"{spec.onnx_model} must not be promoted: {'; '.join(card.ineligible_because)}.")

    blobs = open_blobs(context.store)
    found = read_pointer(blobs, context.model_name)
    champion, tag = found or (None, None)
    changed = False
    if champion is None or champion.digest != model:
        check_not_rolled_back(champion, approved, model)
        check_unchanged(champion, approved, card.classifier_digest)
        record = new_record(champion, approved, card, model, context.run_id)
        blobs.put_folder(model_prefix(model), spec.onnx_model)
        changed = swap_pointer(blobs, context.model_name, record, tag)
        champion = record if changed else winner(blobs, context.model_name, model, approved)
    told = "promoted" if changed else "already champion, nothing to do"
    log.info("model_name=%s champion=%s replaced=%s %s", context.model_name, model, champion.replaced, told)

    rows = [Row(name="promoted", value=model), Row(name="replaced", value=champion.replaced)]
    write_report(spec.report, spec, rows, {"model_name": context.model_name, "changed": changed})
    return {"store": context.store, "model": f"{blobs.uri}/{model_prefix(model)}"}
