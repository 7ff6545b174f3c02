"""The `graft` command: parses, runs, prints. Nothing heavy is imported before a command needs it.

Exit codes: 0 for any verdict, 1 crash, 2 bad input, 3 when --require promote is not met, 130 on Ctrl-C, 143 on SIGTERM.
"""

import sys
from typing import Annotated, Literal

import typer

from components import __version__
from pipelines import (
    champion_commands,
    cluster_commands,
    conformance_commands,
    doctor_commands,
    find_lr_commands,
    predict_commands,
    recommend_commands,
    report_commands,
    serve_commands,
    status_commands,
    store_commands,
    weights_commands,
)
from pipelines.cluster_options import EndpointOption, NamespaceOption, TokenOption
from pipelines.options import (
    BackboneOption,
    ImagePrefixOption,
    ImageTagOption,
    JsonOption,
    RecipeOption,
    RunnerOption,
    SetOption,
    StoreOption,
    StrategyOption,
    WithSteps,
    exit_codes,
)
from pipelines.run_options import DEFAULT_STORE, NOTIFY, Engine, OnDrift, RunOptions

app = typer.Typer(
    name="graft",
    help="Retrain a pretrained vision backbone on your images; get an ONNX model that is proven right and fast enough.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Plain help: importing rich costs 0.3 s.
)
app.add_typer(champion_commands.app, name="champion")
app.add_typer(store_commands.app, name="store")
app.add_typer(weights_commands.app, name="weights")

EngineOption = Annotated[Engine, typer.Option(help="Prefect keeps a history; none runs the same plan without it.")]
# No containers: no image has the package of the demo's weights.
DemoRunnerOption = Annotated[
    Literal["process", "inline"], typer.Option(help="Each step in a process of its own, or all in this one.")
]
RequireOption = Annotated[Literal["promote"] | None, typer.Option(help="Exit with 3 unless the verdict is this.")]
ForceOption = Annotated[
    list[str] | None,
    typer.Option(metavar="STEP", help="Run this step again; promote: also a model that was rolled back."),
]
NotifyOption = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND|URL",
        envvar=NOTIFY,
        show_envvar=True,
        help="Give it the summary as JSON at the end, unless that is Ctrl-C: standard input of a command (without a "
        "shell), or POST.",
    ),
]
OnDriftOption = Annotated[
    OnDrift | None,
    typer.Option(
        show_default="warn", help="stop: end before training, with the verdict keep, when the images drifted too far."
    ),
]
MetricsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.prom",
        envvar="GRAFT_METRICS",
        help="Write the run's figures for Prometheus, in a folder that node_exporter's textfile collector reads.",
    ),
]
SeedOption = Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed of every step that has one.")]


@app.command(cls=WithSteps)
def demo(
    store: StoreOption = DEFAULT_STORE,
    set: SetOption = None,
    force: ForceOption = None,
    engine: EngineOption = RunOptions.engine,
    runner: DemoRunnerOption = "process",
    json: JsonOption = False,
) -> None:
    """The whole pipeline on images of woven fabric, offline."""
    with exit_codes():
        options = RunOptions(
            source=_fabric_images(),
            store=store,
            recipe="demo",
            model_name="fabric",
            set=tuple(set or ()),
            force=tuple(force or ()),
            engine=engine,
            runner=runner,
        )
        _run(options, json)


@app.command(cls=WithSteps)
def run(
    source: Annotated[
        str, typer.Option(metavar="SOURCE", help="Folder, manifest or archive of images; see the README.")
    ],
    store: StoreOption = RunOptions.store,
    recipe: RecipeOption = RunOptions.recipe,
    backbone: BackboneOption = RunOptions.backbone,
    model_name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the champion that this run competes for.")
    ] = (RunOptions.model_name),
    strategy: StrategyOption = RunOptions.strategy,
    seed: SeedOption = RunOptions.seed,
    on_drift: OnDriftOption = RunOptions.on_drift,
    set: SetOption = None,
    force: ForceOption = None,
    engine: EngineOption = RunOptions.engine,
    runner: RunnerOption = RunOptions.runner,
    notify: NotifyOption = None,
    metrics: MetricsOption = None,
    image_prefix: ImagePrefixOption = RunOptions.image_prefix,
    image_tag: ImageTagOption = RunOptions.image_tag,
    require: RequireOption = None,
    json: JsonOption = False,
) -> None:
    """From a folder of images to a proven ONNX model."""
    with exit_codes():
        options = RunOptions(
            source=source,
            store=store,
            recipe=recipe,
            backbone=backbone,
            model_name=model_name,
            strategy=strategy,
            seed=seed,
            on_drift=on_drift,
            set=tuple(set or ()),
            force=tuple(force or ()),
            engine=engine,
            runner=runner,
            notify=notify,
            metrics=metrics,
            image_prefix=image_prefix,
            image_tag=image_tag,
        )
        verdict = _run(options, json)
    if require is not None and verdict != require:
        print(f"graft: --require {require}: the verdict is {verdict}", file=sys.stderr)
        raise typer.Exit(3)


def _run(options: RunOptions, json: bool) -> str:
    """Run, print the summary, and return the gate's verdict."""
    from components.interchange.errors import BadInput
    from pipelines import session, terminal
    from pipelines.parameters import given_here
    from pipelines.runner import StepFailed
    from pipelines.steps import graph_for

    graph = graph_for(options.strategy)
    try:
        summary, verdict = session.attempt(options, terminal.tell, terminal.announce)
    except BadInput as error:
        here = given_here(str(error), "", graph)
        raise BadInput(f"{error} Here {here}." if here else str(error)) from None
    except StepFailed as error:
        if error.code == 2:  # The step has said itself what was wrong.
            if here := given_here(error.why, error.step, graph):
                print(f"graft: here {here}", file=sys.stderr)
            raise typer.Exit(2) from None
        print(f"graft: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    terminal.as_json(summary) if json else terminal.table(summary)
    return verdict


def _fabric_images() -> str:
    from components.interchange.errors import BadInput

    try:
        from conformal_clip_data import textile_simulated_root
    except ImportError:
        raise BadInput("the demo's images are not installed. Install graft[demo].") from None
    return str(textile_simulated_root())


@app.command()
def runs(
    store: StoreOption = DEFAULT_STORE,
    model_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the runs that competed for this champion.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="Newest runs to list; 0 for all.")] = 20,
    cluster: Annotated[bool, typer.Option("--cluster", help="The runs on Kubeflow instead, with their state.")] = False,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    token: TokenOption = None,
    json: JsonOption = False,
) -> None:
    """The runs of a store, newest first: verdicts and scores."""
    if cluster:
        cluster_commands.runs(model_name, limit, endpoint, namespace, token, json)
        return
    with exit_codes():
        from pipelines import run_list, terminal
        from pipelines.store import existing_store

        found = run_list.runs(existing_store(store), model_name, limit)
        if not found and not json:
            print(f"no runs{f' of model {model_name!r}' if model_name else ''} in {store}", file=sys.stderr)
            return
        terminal.as_json(found) if json else terminal.runs(found)


@app.command()
def recipes() -> None:
    """The named parameter sets. Every value, its source, and whether it was measured."""
    with exit_codes():
        from pipelines.terminal import recipe_tables

        recipe_tables()


# In the order that `graft --help` shows.
app.command()(status_commands.status)
app.command()(report_commands.report)
app.command()(predict_commands.predict)
app.command()(conformance_commands.conformance)
app.command()(recommend_commands.recommend)
app.command(cls=WithSteps)(find_lr_commands.find_lr)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(serve_commands.serve)
app.command("compile", cls=WithSteps)(cluster_commands.compile_pipeline)
app.command()(cluster_commands.submit)
app.command()(cluster_commands.schedule)
app.command()(doctor_commands.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"graft {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Retrain a pretrained vision backbone on your images; get an ONNX model that is proven right and fast enough."""


def main() -> None:
    """What `entry.py` calls."""
    app()


if __name__ == "__main__":
    main()
