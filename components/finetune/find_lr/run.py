"""The range test, in order: begin as a training does, sweep the rate, find the steepest descent, report."""

import logging
from dataclasses import asdict

import numpy as np

from components.finetune.devices import prepared
from components.finetune.find_lr.page import range_page, shown
from components.finetune.find_lr.spec import FindLr
from components.finetune.find_lr.sweep import found_in, smoothed, sweep
from components.finetune.freezing import freeze_stages
from components.finetune.param_groups import stages_of
from components.finetune.training import loss_of, param_groups_of, plan_of, start_of
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import Row, write_report
from components.interchange.step import RunContext, given_parameters

log = logging.getLogger("graft")


def run(spec: FindLr, context: RunContext) -> dict[str, object]:
    with prepared(spec.device) as hardware:
        dataset = open_dataset(spec.dataset)
        train = dataset.split("train")
        model, weights, preprocessing = start_of(spec, dataset.manifest, hardware, context.store)
        plan = plan_of(spec, preprocessing)
        pixels_to_logits = PixelsToLogits(model, preprocessing).to(hardware.device)
        freeze_stages(model, stages_of(model), plan.freeze)
        groups = param_groups_of(model, spec)
        multiples = [{"name": group["name"], "multiple": group["lr"] / spec.base_lr} for group in groups]
        loss = loss_of(spec, train, len(dataset.classes)).to(hardware.device)
        rates = np.geomspace(spec.lowest_lr, spec.highest_lr, spec.num_steps).tolist()
        swept = sweep(pixels_to_logits, groups, spec.base_lr, loss, train, plan, hardware, rates)

    found = found_in(swept.rates, swept.losses)
    if not swept.losses:
        raise BadInput(
            "the loss is no finite number before the first step: the --weights are damaged, or are not those of this "
            "backbone."
        )
    if found is None:
        raise BadInput(
            f"the loss exploded at {shown(swept.exploded_lr)}, after {len(swept.losses)} steps: too few to judge by. "
            f"Lower --lowest-lr, which is {spec.lowest_lr:g}."
        )
    log.info("suggested_lr=%s exploded_lr=%s", shown(found.suggested_lr), shown(swept.exploded_lr))
    details = {
        **asdict(swept),
        **asdict(found),
        "param_groups": multiples,
        "weights": weights.model_dump(mode="json"),
    }
    rows = [
        Row(name="suggested_lr", value=found.suggested_lr, split="train", n=len(swept.losses)),
        Row(name="lowest_lr", value=found.lowest_lr, split="train", n=len(swept.losses)),
        Row(name="exploded_lr", value=swept.exploded_lr, split="train", n=len(swept.losses)),
    ]
    page = range_page(details, given_parameters(spec), smoothed(swept.losses))
    write_report(spec.report, spec, rows, details, page)
    return {"device": str(hardware.device), "precision": hardware.precision}
