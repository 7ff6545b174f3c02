"""`graft recommend`: which recipe to begin with."""

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from pipelines.options import JsonOption, exit_codes


def recommend(
    source: Annotated[
        str, typer.Option(metavar="SOURCE", help="Folder, manifest or archive of images, as for graft run.")
    ],
    max_p99_ms: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            min=0.001,
            help="Budget for one image; each backbone that suits is measured on this machine once.",
        ),
    ] = None,
    gpu_memory: Annotated[float | None, typer.Option(metavar="GB", min=0, help="Of the GPU to train on.")] = None,
    edge: Annotated[bool, typer.Option("--edge", help="The model is for a mobile or edge device.")] = False,
    json: JsonOption = False,
) -> None:
    """Name a recipe, with the reasons. How many images there are, where the model is to run, how fast it must be."""
    with exit_codes():
        from pipelines import terminal
        from pipelines.runner import StepFailed

        try:
            found = _found(source, max_p99_ms, gpu_memory, edge)
        except StepFailed as error:
            print(f"graft: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
        if json:
            terminal.as_json(found)
            return
        print(f"recipe: {found['recipe']} ({found['backbone']})")
        for reason in found["reasons"]:
            terminal.hanging("- ", reason)
        if found["latency"]:
            shown = {name: name for name in ("backbone", "p50_ms", "p99_ms", "runs", "when")}
            print("measured on this machine, with random weights:")
            terminal.columns(shown, found["latency"])
        disturbed = [one["backbone"] for one in found["latency"] if one["disturbed"]]
        if disturbed:
            print(
                f"other work took cores while {', '.join(disturbed)} ran: these times are too long, and are not kept. "
                "Ask again when the machine is quiet."
            )


def _found(source: str, max_p99_ms: float | None, gpu_memory: float | None, edge: bool) -> dict[str, Any]:
    from pipelines.backbone_latency import default_cache, latencies, measured
    from pipelines.recipes import recipe
    from pipelines.recommend import Demands, counted, suitable_for
    from pipelines.recommend import recommend as recommended

    there = counted(source)
    demands = Demands(there.train_images, edge, gpu_memory, max_p99_ms)
    backbones = [str(recipe(name).value("backbone")) for name in suitable_for(demands)[0]]
    speeds = {} if max_p99_ms is None else latencies(backbones, measured, default_cache())
    chosen = recommended(demands, speeds)
    return {
        **chosen._asdict(),
        "backbone": recipe(chosen.recipe).value("backbone"),
        **there._asdict(),
        "demands": asdict(demands),
        "latency": [one.model_dump() for one in speeds.values()],
    }
