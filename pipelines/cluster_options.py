"""Options of the commands that speak to a cluster, or compile for one; nothing heavy is imported."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pipelines import cluster
from pipelines.cluster import Cluster, PullPolicy

Words = list[str] | None
SELECTOR = "LABEL=VALUE"
MAX_SHARDS = 100  # ingest_merge is told of all of them in one word of its command line, which Linux limits.

ImagePrefixOption = Annotated[
    str, typer.Option(metavar="PREFIX", help="Images are PREFIX + family + : + TAG, like registry/graft-train:1.")
]
ImageTagOption = Annotated[str, typer.Option(metavar="TAG", help="Tag of one build; never latest.")]
GpuOption = Annotated[
    str | None, typer.Option(metavar="RESOURCE=COUNT", help="Like nvidia.com/gpu=1; finetune uses all of them.")
]
LatencyGpuOption = Annotated[
    bool, typer.Option("--latency-gpu", help="Measure latency on a GPU as well, for a model that is served from one.")
]
ResourceOption = Annotated[
    Words, typer.Option(metavar="STEP.RESOURCE=NUMBER", help="cpu, memory-gib, shm-gib, timeout-s or pod-retries.")
]
NodeSelectorOption = Annotated[Words, typer.Option(metavar=SELECTOR, help="Nodes of every step.")]
GpuNodeSelectorOption = Annotated[Words, typer.Option(metavar=SELECTOR, help="Nodes of steps with a GPU.")]
TolerationOption = Annotated[
    Words, typer.Option(metavar="KEY[=VALUE]:EFFECT", help="A taint to put up with; that of --gpu is known.")
]
PullPolicyOption = Annotated[PullPolicy, typer.Option(help="When nodes fetch the images.")]
PullSecretOption = Annotated[Words, typer.Option(metavar="SECRET", help="Secret of the images' registry.")]
S3SecretOption = Annotated[
    str | None, typer.Option(metavar="SECRET", help="Secret with accesskey and secretkey for the store.")
]
S3EndpointOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Endpoint of the store, where it is not AWS's.")
]
SecretEnvOption = Annotated[
    Words, typer.Option(metavar="VARIABLE=SECRET/KEY", help="One more secret as environment of every step.")
]
IngestShardsOption = Annotated[
    int,
    typer.Option(metavar="N", min=1, max=MAX_SHARDS, help="Pods that read the source, each its share of the files."),
]
UserOption = Annotated[int, typer.Option(metavar="ID", min=1, help="User id that the steps run as.")]

EndpointOption = Annotated[
    str | None,
    typer.Option(metavar="URL", envvar="KF_PIPELINES_ENDPOINT", help="Kubeflow Pipelines, like http://localhost:8080."),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", envvar="KF_PIPELINES_NAMESPACE", help="Profile, where Kubeflow has several users."),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN", envvar="KF_PIPELINES_TOKEN", show_envvar=True, help="Bearer token; better in the variable."
    ),
]
AccountOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Service account of the run's pods, like infra/'s graft-runner; KFP's own by default."
    ),
]
ExperimentOption = Annotated[str, typer.Option(metavar="NAME", help="Kubeflow's experiment, made unless it is there.")]


@dataclass(frozen=True)
class ClusterOptions:
    """What a command line says of a cluster beside its images and shards, as it is written there."""

    gpu: GpuOption = None
    latency_gpu: LatencyGpuOption = Cluster.latency_gpu
    resource: ResourceOption = None
    node_selector: NodeSelectorOption = None
    gpu_node_selector: GpuNodeSelectorOption = None
    toleration: TolerationOption = None
    pull_policy: PullPolicyOption = Cluster.pull_policy
    pull_secret: PullSecretOption = None
    s3_secret: S3SecretOption = None
    s3_endpoint: S3EndpointOption = None
    secret_env: SecretEnvOption = None
    user: UserOption = Cluster.user

    def cluster(self, image_prefix: str, image_tag: str, ingest_shards: int = Cluster.ingest_shards) -> Cluster:
        """The cluster that is meant; BadInput says which option is wrong."""
        return Cluster(
            image_prefix=image_prefix,
            image_tag=image_tag,
            gpu=cluster.gpu_of(self.gpu) if self.gpu is not None else None,
            latency_gpu=self.latency_gpu,
            pull_policy=self.pull_policy,
            pull_secrets=tuple(self.pull_secret or ()),
            selectors=cluster.selectors_of(self.node_selector or (), "--node-selector"),
            gpu_selectors=cluster.selectors_of(self.gpu_node_selector or (), "--gpu-node-selector"),
            tolerations=cluster.tolerations_of(self.toleration or ()),
            s3_secret=self.s3_secret,
            s3_endpoint=self.s3_endpoint,
            secrets=cluster.secrets_of(self.secret_env or ()),
            user=self.user,
            ingest_shards=ingest_shards,
            resources=cluster.resources_of(self.resource or ()),
        )


def with_cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with every field of ClusterOptions as an option, in the place of its parameter `asked`."""
    options = inspect.signature(ClusterOptions, eval_str=True).parameters

    @functools.wraps(command)
    def gathered(**given: Any) -> None:
        asked = ClusterOptions(**{name: given.pop(name) for name in options})
        command(**given, asked=asked)

    parameters = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        parameters += list(options.values()) if name == "asked" else [parameter]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    gathered.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    gathered.__annotations__ = {one.name: one.annotation for one in parameters}
    return gathered
