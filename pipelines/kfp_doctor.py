"""The pipeline of `graft doctor --cluster`: one look from inside a pod, and a pull of every image beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from pipelines.cluster import Cluster, cluster_graph, image_of
from pipelines.kfp_adapter import component
from pipelines.kfp_pipeline import placed
from pipelines.steps import DOCTOR, Step


def pipeline(cluster: Cluster) -> Any:
    """`store` is its one parameter. Every other image gets a task that starts in it and ends."""
    values = {"gpus": cluster.gpu[1] if cluster.gpu else 0, "shm_gib": DOCTOR.shm_gib}
    families = {image_of(step, cluster): step for step in cluster_graph("both", cluster).values()}
    families.pop(image_of(DOCTOR, cluster))

    @dsl.pipeline(name="graft-doctor", description="Whether this cluster has what Graft needs.")  # type: ignore[untyped-decorator]
    def doctor(store: str) -> None:
        look = component(DOCTOR, values, {"store": str, "run_id": str}, image_of(DOCTOR, cluster))
        placed(look(store=store, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER), DOCTOR, cluster)
        for image, step in families.items():
            placed(_pull(step, image)(), step, cluster).set_display_name(pull_name(step))

    return doctor


def pull_name(step: Step) -> str:
    """What the task that pulls a step's image is called."""
    return f"image {step.extra or 'control'}"


def _pull(step: Step, image: str) -> Callable[..., Any]:
    def pull() -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=image, command=["python", "-c", "print('pulled')"])

    pull.__name__ = f"pull_{(step.extra or 'control').replace('-', '_')}"
    made: Callable[..., Any] = dsl.container_component(pull)
    return made


def write(path: Path, cluster: Cluster) -> None:
    """Compile it to Kubeflow's YAML."""
    compiler.Compiler().compile(pipeline(cluster), str(path))
