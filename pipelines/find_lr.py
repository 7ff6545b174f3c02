"""The learning-rate range test in a process of its own, over the finetune parameters of a recipe."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.finetune.find_lr.spec import FindLr
from components.interchange.artifact import read_card
from components.interchange.cli import argv_of
from components.interchange.errors import BadInput, listed
from components.interchange.report import PAGE, read_report
from components.interchange.step import RunContext
from pipelines.parameters import Values, for_backbone, merged, parsed, spec_of, values_of
from pipelines.recipes import recipe
from pipelines.runner import StepFailed, exit_code_of
from pipelines.steps import BY_NAME

FINETUNE = dataclasses.replace(BY_NAME["finetune"], spec=FindLr)


def find_lr(
    dataset: Path, output: Path, chosen: str, backbone: str | None, own: Values, store: str, set: Sequence[str]
) -> dict[str, Any]:
    """What the report in `output` says: suggested, lowest and exploded rate, and where the page lies.

    `own` are parameters of the range test that were given outside `set`, or None.

    StepFailed where the test did not end well; it has said why itself. BadInput where `dataset` is no dataset.
    """
    read_card(dataset, "dataset")  # Refuses what is none before torch is loaded.
    other_steps = [one for one in set if "=" in one and not one.startswith("finetune.")]
    if other_steps:
        raise BadInput(
            f"--set {listed(other_steps)}: expected parameters of finetune alone, like finetune.freeze=early."
        )
    named, graph, given = recipe(chosen), [FINETUNE], parsed(set, [FINETUNE])
    other = {} if backbone is None else for_backbone(backbone, named, graph, {**given, "ingest": {"stored_size_px": 0}})
    options = {"finetune": {name: value for name, value in own.items() if value is not None}}
    values = values_of(named, graph, merged(other, options, given))
    spec = spec_of(FINETUNE, values["finetune"], {"dataset": dataset, "report": output}, options["finetune"])
    argv = argv_of(spec, RunContext(store=store))
    code = exit_code_of([sys.executable, "-m", "components.finetune.find_lr", *argv])
    if code != 0:
        raise StepFailed("find_lr", code)
    rows = {row.name: row.value for row in read_report(output).rows}
    return {**rows, "backbone": values["finetune"]["backbone"], "report": str(output / PAGE)}
