"""`graft compile`, `submit` and `schedule`: the pipeline for a cluster, and its runs there."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cluster import Cluster, check_installed
from pipelines.cluster_options import (
    AccountOption,
    ClusterOptions,
    EndpointOption,
    ExperimentOption,
    ImagePrefixOption,
    ImageTagOption,
    IngestShardsOption,
    NamespaceOption,
    TokenOption,
    Words,
    with_cluster_options,
)
from pipelines.options import BackboneOption, RecipeOption, SetOption, StrategyOption, exit_codes
from pipelines.run_options import RunOptions

if TYPE_CHECKING:
    from pipelines.kubeflow_api import Kubeflow


@with_cluster_options
def compile_pipeline(
    output: Annotated[Path, typer.Option(metavar="FILE.yaml", help="The YAML file to write.")],
    image_prefix: ImagePrefixOption,
    image_tag: ImageTagOption,
    recipe: RecipeOption = RunOptions.recipe,
    backbone: BackboneOption = RunOptions.backbone,
    strategy: StrategyOption = RunOptions.strategy,
    set: SetOption = None,
    ingest_shards: IngestShardsOption = Cluster.ingest_shards,
    asked: ClusterOptions = ClusterOptions(),  # noqa: B008  Frozen; its fields are the options.
) -> None:
    """The pipeline as YAML for Kubeflow Pipelines 2.16 and newer."""
    with exit_codes():
        from pipelines.cluster import compiled
        from pipelines.session import values_for

        values = values_for(recipe, backbone, strategy, None, set or [], {})
        compiled(output, strategy, values, asked.cluster(image_prefix, image_tag, ingest_shards))
    print(output)


PackageArgument = Annotated[Path, typer.Argument(metavar="PIPELINE.YAML", help="What graft compile wrote.")]
ParamOption = Annotated[Words, typer.Option(metavar="NAME=VALUE", help="A parameter of the run: source, store, …")]


def submit(
    package: PackageArgument,
    param: ParamOption = None,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    token: TokenOption = None,
    experiment: ExperimentOption = "graft",
    service_account: AccountOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run; exit with 1 when it fails.")] = False,
    poll_s: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, help="Seconds between two looks at it.")] = 10.0,
) -> None:
    """Start a run on Kubeflow. The pipeline is uploaded unless its content is there already."""
    with exit_codes():
        check_installed()
        from pipelines.kubeflow_api import parameters_of, read_package
        from pipelines.kubeflow_runs import follow

        read = read_package(package)
        given = parameters_of(read, param or [])
        server = connected(endpoint, namespace, token)
        version = server.version_of(read)
        name = f"{read.name} {given.get('model_name', 'model')} {read.version}"
        run_id = server.start(version, server.experiment_id(experiment), name, given, service_account)
        print(server.address(run_id))
        if not wait:
            return
        try:
            state = follow(server, run_id, print, poll_s)
        except KeyboardInterrupt:
            print("graft: not followed any more; the run goes on", file=sys.stderr)
            raise typer.Exit(130) from None
    if state not in ("SUCCEEDED", "SKIPPED"):
        print(f"graft: the run has ended as {state}: {server.address(run_id)}", file=sys.stderr)
        raise typer.Exit(1)


def schedule(
    package: PackageArgument,
    cron: Annotated[
        str,
        typer.Option(metavar="CRON", help="Five fields, like '0 2 * * 1-5'; in the server's time zone, mostly UTC."),
    ],
    param: ParamOption = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the schedule; graft-MODEL_NAME where not given.")
    ] = None,
    endpoint: EndpointOption = None,
    namespace: NamespaceOption = None,
    token: TokenOption = None,
    experiment: ExperimentOption = "graft",
    service_account: AccountOption = None,
) -> None:
    """Run the pipeline regularly on Kubeflow.

    One run at a time, none made up for later. The same command again changes nothing.
    """
    with exit_codes():
        check_installed()
        from pipelines.cron import next_time, six_fields
        from pipelines.kubeflow_api import parameters_of, read_package
        from pipelines.kubeflow_runs import Wanted, keep_schedule

        read = read_package(package)
        given, expression = parameters_of(read, param or []), six_fields(cron)
        server = connected(endpoint, namespace, token)
        called = name or f"{read.name}-{given.get('model_name', 'model')}"
        wanted = Wanted(
            called, server.version_of(read), server.experiment_id(experiment), expression, given, service_account
        )
        kept, done = keep_schedule(server, wanted)
        print(f"{called} {kept}: {', '.join(done) or 'as it was'}; next {next_time(cron):%Y-%m-%d %H:%M}")


def connected(endpoint: str | None, namespace: str | None, token: str | None) -> "Kubeflow":
    """The server that the options name, checked; BadInput says what to set."""
    from components.interchange.errors import BadInput

    if not endpoint:
        raise BadInput("which cluster? Give --endpoint, or set KF_PIPELINES_ENDPOINT.")
    from pipelines.kubeflow_api import Kubeflow

    server = Kubeflow(endpoint, namespace or None, token or None)
    server.check()
    return server


def runs(
    model_name: str | None, limit: int, endpoint: str | None, namespace: str | None, token: str | None, json: bool
) -> None:
    """Print the newest runs on a cluster."""
    with exit_codes():
        check_installed()
        from pipelines import terminal
        from pipelines.kubeflow_runs import newest

        found = newest(connected(endpoint, namespace, token), model_name, limit)
        terminal.as_json(found) if json else terminal.on_cluster(found)
