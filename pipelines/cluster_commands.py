"""`graft compile`: the pipeline for a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cluster import Cluster, PullPolicy
from pipelines.options import BackboneOption, RecipeOption, SetOption, StrategyOption, exit_codes
from pipelines.run_options import RunOptions

Words = list[str] | None
SELECTOR = "LABEL=VALUE"


def compile_pipeline(
    output: Annotated[Path, typer.Option(help="The YAML file to write.")],
    image_prefix: Annotated[
        str, typer.Option(help="Images are PREFIX + family + : + TAG, like registry/graft-train:1.")
    ],
    image_tag: Annotated[str, typer.Option(help="Tag of one build; never latest.")],
    recipe: RecipeOption = RunOptions.recipe,
    backbone: BackboneOption = RunOptions.backbone,
    strategy: StrategyOption = RunOptions.strategy,
    set: SetOption = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="RESOURCE=COUNT", help="Like nvidia.com/gpu=1; finetune uses all of them.")
    ] = None,
    resource: Annotated[
        Words, typer.Option(metavar="STEP.RESOURCE=NUMBER", help="cpu, memory-gib, shm-gib, timeout-s or pod-retries.")
    ] = None,
    node_selector: Annotated[Words, typer.Option(metavar=SELECTOR, help="Nodes of every step.")] = None,
    gpu_node_selector: Annotated[Words, typer.Option(metavar=SELECTOR, help="Nodes of steps with a GPU.")] = None,
    toleration: Annotated[
        Words, typer.Option(metavar="KEY[=VALUE]:EFFECT", help="A taint to put up with; that of --gpu is known.")
    ] = None,
    pull_policy: Annotated[PullPolicy, typer.Option(help="When nodes fetch the images.")] = Cluster.pull_policy,
    pull_secret: Annotated[Words, typer.Option(metavar="SECRET", help="Secret of the images' registry.")] = None,
    s3_secret: Annotated[str | None, typer.Option(help="Secret with accesskey and secretkey for the store.")] = None,
    s3_endpoint: Annotated[str | None, typer.Option(help="Endpoint of the store, where it is not AWS's.")] = None,
    secret_env: Annotated[
        Words, typer.Option(metavar="VARIABLE=SECRET/KEY", help="One more secret as environment of every step.")
    ] = None,
    user: Annotated[int, typer.Option(min=0, help="User id that the steps run as.")] = Cluster.user,
) -> None:
    """The pipeline as a YAML file for Kubeflow Pipelines 2.16 and newer."""
    with exit_codes():
        from pipelines import cluster
        from pipelines.session import values_for

        asked = Cluster(
            image_prefix=image_prefix,
            image_tag=image_tag,
            gpu=cluster.gpu_of(gpu) if gpu is not None else None,
            pull_policy=pull_policy,
            pull_secrets=tuple(pull_secret or ()),
            selectors=cluster.selectors_of(node_selector or (), "--node-selector"),
            gpu_selectors=cluster.selectors_of(gpu_node_selector or (), "--gpu-node-selector"),
            tolerations=cluster.tolerations_of(toleration or ()),
            s3_secret=s3_secret,
            s3_endpoint=s3_endpoint,
            secrets=cluster.secrets_of(secret_env or ()),
            user=user,
            resources=cluster.resources_of(resource or ()),
        )
        cluster.compiled(output, strategy, values_for(recipe, backbone, strategy, None, set or [], {}), asked)
    print(output)
