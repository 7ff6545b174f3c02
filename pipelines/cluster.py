"""What a cluster gives the pipeline at compile time: images, a GPU, credentials. Imports no engine."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.interchange.errors import BadInput
from pipelines.steps import Step, Strategy


@dataclass(frozen=True)
class Cluster:
    """`gpu` is a GPU's resource name and count; the secret and the endpoint are those of the store's S3."""

    image_prefix: str
    image_tag: str
    gpu: tuple[str, int] | None = None
    s3_secret: str | None = None
    s3_endpoint: str | None = None


def cluster_of(
    image_prefix: str, image_tag: str, gpu: str | None, s3_secret: str | None, s3_endpoint: str | None
) -> Cluster:
    """A cluster from command-line words; BadInput on the tag `latest` and on a GPU that is not RESOURCE=COUNT."""
    if image_tag in ("", "latest"):
        raise BadInput(
            f"--image-tag {image_tag!r}: expected the tag of one build, like a version and a commit. Kubeflow's cache "
            "takes the same tag for the same code."
        )
    return Cluster(image_prefix, image_tag, _gpu(gpu), s3_secret, s3_endpoint)


def _gpu(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    kind, _, count = text.partition("=")
    if not kind or not count.isdigit() or int(count) < 1:
        raise BadInput(f"--gpu {text}: expected RESOURCE=COUNT, like nvidia.com/gpu=1.")
    return kind, int(count)


def image_of(step: Step, cluster: Cluster) -> str:
    """The image of a step's family: its extra, or `control` where it has none."""
    return f"{cluster.image_prefix}{step.extra or 'control'}:{cluster.image_tag}"


def compiled(path: Path, strategy: Strategy, values: Mapping[str, Mapping[str, Any]], cluster: Cluster) -> None:
    """Write the pipeline's YAML; BadInput where kfp is not installed, or the place cannot be written to."""
    if importlib.util.find_spec("kfp") is None:
        raise BadInput("kfp is not installed. Install graft[kfp].")
    if path.suffix not in (".yaml", ".yml") or not path.parent.is_dir():
        raise BadInput(f"--output {path}: expected a .yaml file in a folder that exists.")
    from pipelines.kfp_pipeline import write

    write(path, strategy, values, cluster)
