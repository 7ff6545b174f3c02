"""The graph as a Kubeflow pipeline, written out. A test holds its edges against `steps.py`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from kfp import compiler, dsl, kubernetes

from pipelines.cluster import Cluster, image_of
from pipelines.kfp_adapter import component
from pipelines.steps import BY_NAME, Step, Strategy, graph_for

STORE_STEPS = ("evaluate", "gate", "promote")
CREDENTIALS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
OptionalFloat = Optional[float]  # noqa: UP045  Kubeflow reads no other spelling.


def pipeline(strategy: Strategy, values: Mapping[str, Mapping[str, Any]], cluster: Cluster) -> Any:
    """The pipeline of a strategy with these parameter values by step. Its own parameters may change from run to run."""
    steps = {step.name: step for step in graph_for(strategy)}

    def made(name: str, **run_time: Any) -> Callable[..., Any]:
        step = steps[name]
        context = {"store": str, "model_name": str, "run_id": str} if name in STORE_STEPS else {}
        fixed = dict(values.get(name, {})) | ({"device": "cuda"} if cluster.gpu and step.gpu else {})
        build = component(step, fixed, {**run_time, **context}, image_of(step, cluster))
        return lambda **given: placed(build(**given), step, cluster)

    budgets = {"max_p99_ms": OptionalFloat, "min_top1": OptionalFloat, "min_gain": OptionalFloat}
    ingest, evaluate = made("ingest", source=str), made("evaluate", seed=int)
    export_onnx, latency, gate, promote = made("export_onnx"), made("latency"), made("gate", **budgets), made("promote")

    @dsl.pipeline(name="graft", description="From a source of images to a proven ONNX model.")  # type: ignore[untyped-decorator]
    def graft(
        source: str,
        store: str,
        model_name: str = "model",
        seed: int = 0,
        max_p99_ms: OptionalFloat = None,
        min_top1: OptionalFloat = None,
        min_gain: OptionalFloat = None,
    ) -> None:
        context = {"store": store, "model_name": model_name, "run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        data = ingest(source=source).set_caching_options(False)  # Kubeflow's cache does not see the source.
        dataset = data.outputs["dataset"]
        trained = {}
        if strategy != "finetune":
            task = made("feature_extraction", seed=int)(dataset=dataset, seed=seed)
            trained["baseline"] = task.outputs["classifier"]
        if strategy != "feature_extraction":
            task = made("finetune", seed=int)(dataset=dataset, seed=seed)
            trained["candidate"] = task.outputs["classifier"]
        judged = evaluate(dataset=dataset, seed=seed, **trained, **context).set_caching_options(False)
        exported = export_onnx(dataset=dataset, selected=judged.outputs["selected"])
        measured = latency(onnx_model=exported.outputs["onnx_model"], dataset=dataset)
        verdict = gate(
            ingest_report=data.outputs["report"],
            evaluate_report=judged.outputs["report"],
            export_report=exported.outputs["report"],
            latency_report=measured.outputs["report"],
            max_p99_ms=max_p99_ms,
            min_top1=min_top1,
            min_gain=min_gain,
            **context,
        ).set_caching_options(False)  # What was rolled back is in the store.
        with dsl.If(verdict.outputs["verdict"] == "promote", name="promoted"):
            promote(
                onnx_model=exported.outputs["onnx_model"], gate_report=verdict.outputs["report"], **context
            ).set_caching_options(False)

    return graft


def placed(task: Any, step: Step, cluster: Cluster) -> Any:
    """A task with what it asks of the cluster: cpu, memory, GPU, retries, credentials, a user that is not root."""
    task.set_display_name(step.name)
    task.set_cpu_request(str(step.cpu)).set_cpu_limit(str(step.cpu))
    task.set_memory_request(f"{step.memory_gib}Gi").set_memory_limit(f"{step.memory_gib}Gi")
    task.set_retry(num_retries=BY_NAME[step.name].retries, backoff_duration="30s", backoff_factor=2)
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    kubernetes.set_security_context(task, run_as_user=1000, run_as_non_root=True)
    if cluster.gpu and step.gpu:
        kind, count = cluster.gpu
        task.set_accelerator_type(kind).set_accelerator_limit(count)
        kubernetes.add_toleration(task, key=kind, operator="Exists", effect="NoSchedule")
    if cluster.s3_secret and step.name in STORE_STEPS:
        kubernetes.use_secret_as_env(task, cluster.s3_secret, CREDENTIALS)
    if cluster.s3_endpoint and step.name in STORE_STEPS:
        task.set_env_variable("AWS_ENDPOINT_URL", cluster.s3_endpoint)
    return task


def write(path: Path, strategy: Strategy, values: Mapping[str, Mapping[str, Any]], cluster: Cluster) -> None:
    """Compile the pipeline to Kubeflow's YAML."""
    compiler.Compiler().compile(pipeline(strategy, values, cluster), str(path))
