"""Options of the commands that speak to a cluster, or compile for one; nothing heavy is imported."""

from typing import Annotated

import typer

from pipelines.cluster import PullPolicy

Words = list[str] | None
SELECTOR = "LABEL=VALUE"
MAX_SHARDS = 100  # ingest_merge is told of all of them in one word of its command line, which Linux limits.

ImagePrefixOption = Annotated[
    str, typer.Option(help="Images are PREFIX + family + : + TAG, like registry/graft-train:1.")
]
ImageTagOption = Annotated[str, typer.Option(help="Tag of one build; never latest.")]
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
S3SecretOption = Annotated[str | None, typer.Option(help="Secret with accesskey and secretkey for the store.")]
S3EndpointOption = Annotated[str | None, typer.Option(help="Endpoint of the store, where it is not AWS's.")]
SecretEnvOption = Annotated[
    Words, typer.Option(metavar="VARIABLE=SECRET/KEY", help="One more secret as environment of every step.")
]
IngestShardsOption = Annotated[
    int, typer.Option(min=1, max=MAX_SHARDS, help="Pods that read the source, each its share of the files.")
]
UserOption = Annotated[int, typer.Option(min=0, help="User id that the steps run as.")]

EndpointOption = Annotated[
    str | None, typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="Kubeflow Pipelines, like http://localhost:8080.")
]
NamespaceOption = Annotated[
    str | None, typer.Option(envvar="KF_PIPELINES_NAMESPACE", help="Profile, where Kubeflow has several users.")
]
TokenOption = Annotated[
    str | None,
    typer.Option(envvar="KF_PIPELINES_TOKEN", show_envvar=True, help="Bearer token; better in the variable."),
]
AccountOption = Annotated[
    str | None,
    typer.Option(help="Service account of the run's pods, like infra/'s graft-runner; KFP's own by default."),
]
ExperimentOption = Annotated[str, typer.Option(help="Kubeflow's experiment, made unless it is there.")]
