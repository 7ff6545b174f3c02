"""The graph as a Kubeflow pipeline, written out. A test holds its edges against `steps.py`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

from kfp import compiler, dsl, kubernetes

from pipelines.cluster import Cluster, cluster_graph, image_of, pipeline_digest
from pipelines.kfp_adapter import component
from pipelines.run_options import Strategy
from pipelines.steps import SHARDED_STEPS, Step

CONTEXT = {"store": str, "model_name": str, "run_id": str}
CREDENTIALS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
SHARDED = {step.name for step in SHARDED_STEPS}
OptionalFloat = Optional[float]  # noqa: UP045  Kubeflow reads no other spelling.
BUDGETS = {"max_p99_ms": OptionalFloat, "min_top1": OptionalFloat, "min_gain": OptionalFloat}


def pipeline(strategy: Strategy, values: Mapping[str, Mapping[str, Any]], cluster: Cluster) -> Any:
    """The pipeline of a strategy with these parameter values by step. Its own parameters may change from run to run."""
    steps = cluster_graph(strategy, cluster)
    digest = pipeline_digest(strategy, values, cluster)
    limits = {name: values.get("gate", {}).get(name) for name in BUDGETS}

    def made(name: str, **run_time: Any) -> Callable[..., Any]:
        step = steps[name]
        fixed = {"device": "cuda"} if cluster.gpu and step.gpu else {}
        fixed |= values.get("ingest" if name in SHARDED else name, {})
        fixed |= {"pipeline_digest": digest} if name == "changes" else {}
        processes = cluster.gpu[1] if cluster.gpu and name == "finetune" else 1
        build = component(step, fixed, {**run_time, **CONTEXT}, image_of(step, cluster), processes)
        return lambda **given: placed(build(**given), step, cluster)

    @dsl.pipeline(name="graft", description="From a source of images to a proven ONNX model.")  # type: ignore[untyped-decorator]
    def graft(
        source: str,
        store: str,
        model_name: str = "model",
        seed: int = 0,
        max_p99_ms: OptionalFloat = limits["max_p99_ms"],
        min_top1: OptionalFloat = limits["min_top1"],
        min_gain: OptionalFloat = limits["min_gain"],
    ) -> None:
        """From a source of images to a proven ONNX model.

        Args:
            source: Folder, manifest or archive of images, as every pod sees it, or at s3://BUCKET/PREFIX.
            store: Where artifacts, runs and champions are kept, like s3://BUCKET/PREFIX.
            model_name: Name of the champion that the run competes for.
            seed: Seed of every step that has one.
            max_p99_ms: Highest p99 latency at batch 1 that may be promoted, in milliseconds; no limit where not given.
            min_top1: Lowest test top-1 that may be promoted, a fraction; no limit where not given.
            min_gain: By how much test top-1 has to exceed the champion's; more than the noise where not given.
        """
        context = {"store": store, "model_name": model_name, "run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        budgets = {"max_p99_ms": max_p99_ms, "min_top1": min_top1, "min_gain": min_gain}
        recorded = made("record", status=dsl.PipelineTaskFinalStatus)(**context)
        with dsl.ExitHandler(recorded, name="recorded"):
            if cluster.ingest_shards == 1:
                data = made("ingest", source=str)(source=source, **context)
            else:
                shards = [f"{number}/{cluster.ingest_shards}" for number in range(1, cluster.ingest_shards + 1)]
                with dsl.ParallelFor(shards, name="shares") as shard:
                    part = made("ingest_share", source=str, shard=str)(source=source, shard=shard, **context)
                shares = dsl.Collected(part.outputs["share"])
                data = made("ingest_merge", source=str)(shares=shares, source=source, **context)
            compared = made("changes", dataset_digest=str, seed=int, **BUDGETS)(
                dataset_digest=data.outputs["dataset_digest"], seed=seed, **budgets, **context
            )
            alike = dsl.If(data.outputs["drift"] == "go_on", name="not-drifted")
            with alike, dsl.If(compared.outputs["word"] == "changed", name="changed"):
                dataset = data.outputs["dataset"]
                trained = {}
                if strategy != "finetune":
                    task = made("feature_extraction", seed=int)(dataset=dataset, seed=seed, **context)
                    trained["baseline"] = task.outputs["classifier"]
                if strategy != "feature_extraction":
                    task = made("finetune", seed=int)(dataset=dataset, seed=seed, **context)
                    trained["candidate"] = task.outputs["classifier"]
                judged = made("evaluate", seed=int)(dataset=dataset, seed=seed, **trained, **context)
                exported = made("export_onnx")(dataset=dataset, selected=judged.outputs["selected"], **context)
                onnx_model = exported.outputs["onnx_model"]
                measured = made("latency")(onnx_model=onnx_model, dataset=dataset, **context)
                verdict = made("gate", **BUDGETS)(
                    ingest_report=data.outputs["report"],
                    evaluate_report=judged.outputs["report"],
                    export_report=exported.outputs["report"],
                    latency_report=measured.outputs["report"],
                    **budgets,
                    **context,
                )
                with dsl.If(verdict.outputs["verdict"] == "promote", name="promoted"):
                    made("promote")(onnx_model=onnx_model, gate_report=verdict.outputs["report"], **context)

    return graft


def placed(task: Any, step: Step, cluster: Cluster) -> Any:
    """A task with what it asks of the cluster, and what the cluster's owner asks of it."""
    task.set_display_name(step.name)
    task.set_caching_options(False)  # Kubeflow's key knows artifact ids, not content; and no source, no champion.
    task.set_cpu_request(str(step.cpu)).set_cpu_limit(str(step.cpu))
    task.set_memory_request(f"{step.memory_gib}Gi").set_memory_limit(f"{step.memory_gib}Gi")
    task.set_retry(num_retries=step.pod_retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s")
    kubernetes.set_timeout(task, seconds=step.timeout_s)
    kubernetes.set_image_pull_policy(task, cluster.pull_policy)
    kubernetes.set_security_context(task, run_as_user=cluster.user, run_as_non_root=True)
    if cluster.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.pull_secrets))
    if step.shm_gib:
        kubernetes.empty_dir_mount(task, "shm", mount_path="/dev/shm", medium="Memory", size_limit=f"{step.shm_gib}Gi")
    _where(task, step, cluster)
    _secrets(task, cluster)
    return task


def _where(task: Any, step: Step, cluster: Cluster) -> None:
    """GPU, nodes, tolerations."""
    for key, value in cluster.selectors + (cluster.gpu_selectors if cluster.gpu and step.gpu else ()):
        kubernetes.add_node_selector(task, label_key=key, label_value=value)
    for one in cluster.tolerations:
        operator = "Exists" if one.value is None else "Equal"
        kubernetes.add_toleration(task, key=one.key, operator=operator, value=one.value, effect=one.effect)
    if cluster.gpu and step.gpu:
        kind, count = cluster.gpu
        task.set_accelerator_type(kind).set_accelerator_limit(count if step.name == "finetune" else 1)
        kubernetes.add_toleration(task, key=kind, operator="Exists", effect="NoSchedule")


def _secrets(task: Any, cluster: Cluster) -> None:
    """Credentials as environment: every step gets the store, and what it takes to open it."""
    if cluster.s3_secret:
        kubernetes.use_secret_as_env(task, cluster.s3_secret, CREDENTIALS)
    for one in cluster.secrets:
        kubernetes.use_secret_as_env(task, one.secret, {one.key: one.variable})
    if cluster.s3_endpoint:
        task.set_env_variable("AWS_ENDPOINT_URL", cluster.s3_endpoint)


def write(path: Path, strategy: Strategy, values: Mapping[str, Mapping[str, Any]], cluster: Cluster) -> None:
    """Compile the pipeline to Kubeflow's YAML."""
    compiler.Compiler().compile(pipeline(strategy, values, cluster), str(path))
