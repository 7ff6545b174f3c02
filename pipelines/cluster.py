"""What a cluster gives the pipeline at compile time: images, GPUs, places, credentials. Imports no engine."""

import hashlib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from components.interchange.artifact import to_json
from components.interchange.errors import BadInput, listed, near
from pipelines.run_options import Strategy
from pipelines.steps import CLUSTER_STEPS, SHARDED_STEPS, STEPS, Step, graph_for, sharded

PullPolicy = Literal["IfNotPresent", "Always", "Never"]
RESOURCES = ("cpu", "memory_gib", "shm_gib", "timeout_s", "pod_retries")
OF_A_RUN = ("source", "seed")  # Parameters of steps that every run on a cluster is given anew.
FILES = ("weights", "test_manifest")  # Parameters of steps that may name a file.
ELSEWHERE = ("/", "file://", "s3://", "package:")
HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
IMAGE = re.compile(rf"(?:{HOST}/)?[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*:\w[\w.-]{{0,127}}", re.ASCII)
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True)
class Toleration:
    """A taint that pods put up with; any value where `value` is None."""

    key: str
    value: str | None
    effect: str


@dataclass(frozen=True)
class SecretValue:
    """An environment variable from a secret's key."""

    variable: str
    secret: str
    key: str


@dataclass(frozen=True)
class Cluster:
    """What `graft compile` was told of a cluster.

    `gpu` is a GPU's resource name and count a pod; with `latency_gpu` latency measures on one too. Selectors are node
    labels, those of `gpu_selectors` for steps with a GPU alone. `secrets`, `s3_secret` and `s3_endpoint` reach every
    step that gets the store. `resources` are changes of single steps, by step and field. With more than one of
    `ingest_shards`, so many pods read the source.
    """

    image_prefix: str
    image_tag: str
    gpu: tuple[str, int] | None = None
    latency_gpu: bool = False
    pull_policy: PullPolicy = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    selectors: tuple[tuple[str, str], ...] = ()
    gpu_selectors: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    s3_secret: str | None = None
    s3_endpoint: str | None = None
    secrets: tuple[SecretValue, ...] = ()
    user: int = 1000
    ingest_shards: int = 1
    resources: tuple[tuple[str, str, int], ...] = ()

    def __post_init__(self) -> None:
        if self.image_tag in ("", "latest"):
            raise BadInput(
                f"--image-tag {self.image_tag!r}: expected the tag of one build, like a version and a commit. A moving "
                "tag runs one pipeline with two codes."
            )
        image = f"{self.image_prefix}control:{self.image_tag}"
        if not IMAGE.fullmatch(image):
            raise BadInput(
                f"--image-prefix {self.image_prefix!r}, --image-tag {self.image_tag!r}: {image} cannot be an image's "
                "name. Expected a registry and a path in lower case, like registry.example/team/graft-, and a tag of "
                "letters, digits, '_', '.' and '-'."
            )
        if self.latency_gpu and self.gpu is None:
            raise BadInput("--latency-gpu: which GPU? Expected --gpu RESOURCE=COUNT as well, like nvidia.com/gpu=1.")
        if self.s3_endpoint is not None and not self.s3_endpoint.startswith(("http://", "https://")):
            raise BadInput(f"--s3-endpoint {self.s3_endpoint}: expected an address like http://seaweedfs.graft:8333.")
        if self.user == 0:
            raise BadInput("--user 0: no step runs as root. Expected a user id above 0; the images are made for 1000.")
        other = {"ingest"} if self.ingest_shards > 1 else {step.name for step in SHARDED_STEPS}
        wrong = [f"{name}.{field}" for name, field, _ in self.resources if name in other]
        if wrong:
            raise BadInput(
                f"--resource {listed(wrong)}: with --ingest-shards {self.ingest_shards} there is no such step. "
                "Expected ingest_share and ingest_merge where ingest is divided, ingest where it is not."
            )


def image_of(step: Step, cluster: Cluster) -> str:
    """The image of a step's family: its extra, or `control` where it has none."""
    return f"{cluster.image_prefix}{step.extra or 'control'}:{cluster.image_tag}"


def cluster_graph(strategy: Strategy, cluster: Cluster) -> dict[str, Step]:
    """Every step that a cluster runs, by name, with the resources that were asked for."""
    steps = graph_for(strategy) if cluster.ingest_shards == 1 else sharded(graph_for(strategy))
    graph = {step.name: step for step in [*steps, *CLUSTER_STEPS]}
    if cluster.latency_gpu:
        graph["latency"] = on_a_gpu(graph["latency"])
    for name, field, value in cluster.resources:
        changed: dict[str, Any] = {field: value}
        if name in graph:
            graph[name] = replace(graph[name], **changed)
    return graph


def on_a_gpu(latency: Step) -> Step:
    """The step latency in the image whose onnxruntime knows CUDA."""
    return replace(latency, gpu=True, extra="latency-gpu")


def pipeline_digest(strategy: Strategy, values: Mapping[str, Mapping[str, Any]], cluster: Cluster) -> str:
    """Digest of what decides about a model when the pipeline is compiled: parameters and images; shards do not."""
    graph = cluster_graph(strategy, replace(cluster, ingest_shards=1, resources=()))
    images = {name: image_of(step, cluster) for name, step in graph.items()}
    parts = {"strategy": strategy, "values": {step: dict(given) for step, given in values.items()}, "images": images}
    return hashlib.sha256(to_json(parts).encode()).hexdigest()


def gpu_of(text: str) -> tuple[str, int]:
    """`nvidia.com/gpu=2` as resource and count."""
    kind, _, count = text.partition("=")
    if "/" not in kind or not count.isdigit() or int(count) < 1:  # Kubernetes' own names have none, others must.
        raise BadInput(f"--gpu {text}: expected RESOURCE=COUNT, like nvidia.com/gpu=1.")
    return kind, int(count)


def selectors_of(texts: Iterable[str], flag: str) -> tuple[tuple[str, str], ...]:
    """Node labels from `KEY=VALUE`."""
    pairs = [(text, text.partition("=")) for text in texts]
    wrong = [text for text, (key, _, value) in pairs if not key or not value]
    if wrong:
        raise BadInput(f"{flag} {listed(wrong)}: expected LABEL=VALUE, like accelerator=a100.")
    return tuple((key, value) for _, (key, _, value) in pairs)


def tolerations_of(texts: Iterable[str]) -> tuple[Toleration, ...]:
    """Tolerations from `KEY:EFFECT` or `KEY=VALUE:EFFECT`, as kubectl taint writes them."""
    found, wrong = [], []
    for text in texts:
        taint, _, effect = text.rpartition(":")
        key, equals, value = taint.partition("=")
        if not key or effect not in EFFECTS or (equals and not value):
            wrong.append(text)
        found.append(Toleration(key, value or None, effect))
    if wrong:
        raise BadInput(f"--toleration {listed(wrong)}: expected KEY:EFFECT or KEY=VALUE:EFFECT ({', '.join(EFFECTS)}).")
    return tuple(found)


def secrets_of(texts: Iterable[str]) -> tuple[SecretValue, ...]:
    """Environment variables from `VARIABLE=SECRET/KEY`."""
    found, wrong = [], []
    for text in texts:
        variable, _, place = text.partition("=")
        secret, _, key = place.partition("/")
        if not variable.replace("_", "a").isalnum() or not secret or not key:
            wrong.append(text)
        found.append(SecretValue(variable, secret, key))
    if wrong:
        raise BadInput(f"--secret-env {listed(wrong)}: expected VARIABLE=SECRET/KEY, like HF_TOKEN=hub/token.")
    return tuple(found)


def resources_of(texts: Iterable[str]) -> tuple[tuple[str, str, int], ...]:
    """`finetune.memory-gib=32` and its like as step, field and value; BadInput lists every wrong one."""
    steps, found, wrong = [step.name for step in [*STEPS, *SHARDED_STEPS, *CLUSTER_STEPS]], [], []
    for text in texts:
        target, _, value = text.partition("=")
        name, _, field = target.replace("-", "_").partition(".")
        least = 0 if field in ("shm_gib", "pod_retries") else 1
        if name not in steps:
            wrong.append(f"{text} (no such step.{near(name, steps)})")
        elif field not in RESOURCES:
            wrong.append(f"{text} (no such resource.{near(field, RESOURCES)})")
        elif not value.isdigit() or int(value) < least:
            wrong.append(f"{text} (not a whole number from {least} up)")
        else:
            found.append((name, field, int(value)))
    if wrong:
        known = ", ".join(field.replace("_", "-") for field in RESOURCES)
        raise BadInput(f"--resource {listed(wrong)}: expected STEP.RESOURCE=NUMBER with {known}.")
    return tuple(found)


def compiled(path: Path, strategy: Strategy, values: Mapping[str, Mapping[str, Any]], cluster: Cluster) -> None:
    """Write the pipeline's YAML; BadInput where kfp is not installed, or the place cannot be written to."""
    check_installed()
    late = [f"{step}.{name}" for step, given in values.items() for name in given if name in OF_A_RUN]
    if late:
        raise BadInput(
            f"--set {listed(late)}: on a cluster that is a parameter of each run, as of `graft submit pipeline.yaml "
            "--param seed=1`. Leave it out here."
        )
    here = [
        f"{step}.{name}={value}"
        for step, given in values.items()
        for name, value in given.items()
        if name in FILES and value and not str(value).startswith(ELSEWHERE) and value not in ("hub", "store")
    ]
    if here:
        raise BadInput(
            f"--set {listed(here)}: a path of this machine. Expected one that every pod sees, like s3://BUCKET/KEY; "
            "for weights also hub, store or package:NAME."
        )
    graph = cluster_graph(strategy, cluster)
    without = [
        f"{step}.device=cuda"
        for step, given in values.items()
        if given.get("device") == "cuda" and not (cluster.gpu is not None and graph[step].gpu)
    ]
    if without:
        raise BadInput(
            f"--set {listed(without)}: no pod of that step has a GPU. Expected --gpu RESOURCE=COUNT, for latency "
            "--latency-gpu as well; or leave it out."
        )
    if path.suffix not in (".yaml", ".yml") or not path.parent.is_dir():
        raise BadInput(f"--output {path}: expected a .yaml file in a folder that exists.")
    from pipelines.kfp_pipeline import write

    write(path, strategy, values, cluster)


def check_installed() -> None:
    """BadInput where kfp is not installed."""
    if importlib.util.find_spec("kfp") is None:
        raise BadInput("kfp is not installed. Install graft[kfp].")
