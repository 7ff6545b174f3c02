"""`graft find-lr`: which learning rate to train with."""

import itertools
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.finetune.find_lr.spec import FindLr
from pipelines.options import BackboneOption, JsonOption, RecipeOption, SetOption, StoreOption, exit_codes
from pipelines.run_options import DEFAULT_STORE, RunOptions


def _default(name: str) -> str:
    return f"{FindLr.model_fields[name].default:g}"


def find_lr(
    dataset: Annotated[Path, typer.Option(metavar="DIR", help="Folder of a dataset artifact, as ingest writes it.")],
    recipe: RecipeOption = RunOptions.recipe,
    backbone: BackboneOption = RunOptions.backbone,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="Pretrained weights instead of the recipe's: hub, store, package:NAME, an s3:// URI or a file.",
        ),
    ] = None,
    lowest_lr: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="base_lr of the first step.", show_default=_default("lowest_lr")),
    ] = None,
    highest_lr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="base_lr of the last step, if the loss does not explode before.",
            show_default=_default("highest_lr"),
        ),
    ] = None,
    num_steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Steps from the one to the other.", show_default=_default("num_steps")),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for report.json and report.html.", show_default="find-lr, find-lr-2, …"
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    set: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Suggest a base_lr: train at a rising rate, until it explodes.

    The suggestion is the rate at which the loss fell most steeply. It is the training that the recipe describes, on the
    train split; --set finetune.PARAM=VALUE changes it.
    """
    with exit_codes():
        from pipelines import terminal
        from pipelines.find_lr import find_lr as found_in
        from pipelines.runner import StepFailed

        try:
            own = {"weights": weights, "lowest_lr": lowest_lr, "highest_lr": highest_lr, "num_steps": num_steps}
            found = found_in(dataset, output or _new_folder(), recipe, backbone, own, store, set or ())
        except StepFailed as error:
            if error.code != 2:
                print(f"graft: {error}", file=sys.stderr)
            raise typer.Exit(2 if error.code == 2 else 1) from None
        terminal.as_json(found) if json else print("\n".join(_words(found)))


def _new_folder() -> Path:
    """The first of find-lr, find-lr-2, … that is not there."""
    places = (Path(f"find-lr{f'-{number}' if number > 1 else ''}") for number in itertools.count(1))
    return next(place for place in places if not place.exists())


def _words(found: dict[str, object]) -> list[str]:
    suggested = found["suggested_lr"]
    if suggested is None:
        said = "no rate to suggest: the loss fell nowhere by more than its noise"
    else:
        rate = f"{suggested:.1e}"
        said = f"suggested base_lr of {found['backbone']}: {rate}  (graft run … --set finetune.base-lr={rate})"
    return [said, f"HTML report: {found['report']}"]
