"""The compiled Kubeflow pipeline: its edges, what it asks of a cluster, and its commands run as the launcher would run
them. Without a cluster."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.interchange.champion import current
from components.interchange.errors import BadInput
from pipelines.cluster import Cluster, gpu_of, resources_of, secrets_of, selectors_of, tolerations_of
from pipelines.cluster import compiled as write_yaml
from pipelines.kfp_adapter import only_in_kubeflow
from pipelines.steps import CLUSTER_STEPS, SHARDED_STEPS, STEPS, edges, graph_for, sharded
from tests.conftest import TINY_BACKBONE, TINY_INPUT_PX
from tests.pipelines.launcher import Launcher, tasks_of, written_edges

Compiled = dict[str, list[dict[str, Any]]]
# Kubeflow 2.17 added settings of whole runs, which a 2.16 backend does not know.
ONLY_IN_2_17 = ("pipelineConfig", "ttlSecondsAfterFinished", "activeDeadlineSecondsAfterStart", "debugPause")


COMPILE = """
import json, sys
from pipelines.cli import app

for words in json.loads(sys.argv[1]):
    app(words, standalone_mode=False)
"""
STRATEGIES = ("both", "feature_extraction", "finetune")
FOR_A_CLUSTER = ["--gpu", "nvidia.com/gpu=2", "--gpu-node-selector", "accelerator=a100", "--s3-secret", "s3"]
FOR_A_CLUSTER += ["--toleration", "team=vision:NoExecute", "--resource", "finetune.memory-gib=64"]
FOR_A_CLUSTER += ["--s3-endpoint", "http://s3:9000", "--secret-env", "HF_TOKEN=hub/token", "--pull-secret", "registry"]
FOR_A_CLUSTER += ["--node-selector", "zone=a", "--set", "gate.max-p99-ms=25", "--set", "evaluate.device=cpu"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Compiled:
    """What `graft compile` writes: the two documents of each YAML by name, made in one process for speed.

    `tiny` are pipelines of the tiny backbone, of the baseline alone, again for speed.
    """
    sets = {
        "ingest.stored-size-px": 40,
        "ingest.on-drift": "stop",
        "feature_extraction.weights": tiny_weights,
        "feature_extraction.input-size-px": TINY_INPUT_PX,
        "export_onnx.parity-samples": 8,
        "latency.timed-runs": 1000,
        "latency.max-warmup-runs": 60,
        "latency.throughput-s": 0.1,
    }
    tiny = ["--backbone", TINY_BACKBONE, "--strategy", "feature_extraction"]
    tiny += [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    wanted = {strategy: ["--recipe", "demo", "--strategy", strategy] for strategy in STRATEGIES}
    wanted |= {"cluster": ["--recipe", "demo", *FOR_A_CLUSTER], "tiny": tiny}
    on_gpu = ["--recipe", "demo", "--strategy", "feature_extraction", "--gpu", "nvidia.com/gpu=2", "--latency-gpu"]
    wanted |= {"latency on a GPU": on_gpu}
    wanted |= {"tiny in shares": [*tiny, "--ingest-shards", "2"]}
    folder = tmp_path_factory.mktemp("compiled")
    images = ["--image-prefix", "registry/graft-", "--image-tag", "0.1.0-abc"]
    argvs = [["compile", "--output", f"{folder / name}.yaml", *images, *words] for name, words in wanted.items()]
    subprocess.run([sys.executable, "-c", COMPILE, json.dumps(argvs)], check=True)
    return {name: _read((folder / name).with_suffix(".yaml")) for name in wanted}


def _read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    assert "pip install" not in text and ":latest" not in text
    assert not [word for word in ONLY_IN_2_17 if word in text]
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_pipeline_has_the_edges_of_the_steps(compiled: Compiled, strategy: Any) -> None:
    spec = compiled[strategy][0]

    assert written_edges(tasks_of(spec)) == edges(graph_for(strategy))


def test_a_divided_pipeline_has_the_edges_of_the_steps(compiled: Compiled) -> None:
    spec = compiled["tiny in shares"][0]
    tasks = tasks_of(spec)

    assert written_edges(tasks) == edges(sharded(graph_for("feature_extraction")))
    assert "ingest" not in tasks and "ingest-share" not in {*compiled["tiny"][0]["components"]}
    for name in ("ingest-share", "ingest-merge"):
        container = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        assert container["image"] == "registry/graft-ingest:0.1.0-abc"
        assert container["command"] == ["python", "-m", f"components.{name.replace('-', '.')}"]
        assert ("--stored-size-px" in container["args"]) == (name == "ingest-share")


def test_what_the_cluster_gives_reaches_the_tasks(compiled: Compiled) -> None:
    spec, platform = compiled["cluster"]
    executors = {name: found["container"] for name, found in spec["deploymentSpec"]["executors"].items()}
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    assert executors["exec-finetune"]["image"] == "registry/graft-train:0.1.0-abc"
    assert {executors[f"exec-{step}"]["image"] for step in ("gate", "promote", "changes", "record")} == {
        "registry/graft-control:0.1.0-abc"
    }
    assert executors["exec-finetune"]["command"][:3] == ["torchrun", "--standalone", "--nproc-per-node=2"]
    assert executors["exec-evaluate"]["command"][0] == "python"
    assert executors["exec-finetune"]["resources"]["accelerator"]["resourceCount"] == "2"
    assert executors["exec-finetune"]["resources"]["resourceMemoryLimit"] == "64Gi"
    arguments = executors["exec-finetune"]["args"]
    assert arguments[arguments.index("--device") + 1] == "cuda"
    judged = executors["exec-evaluate"]["args"]
    assert judged[judged.index("--device") + 1] == "cpu"
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["max_p99_ms"]["defaultValue"] == 25.0 and all(one["description"] for one in parameters.values())
    assert "accelerator" not in executors["exec-latency"]["resources"]
    assert settings["exec-finetune"]["nodeSelector"]["labels"] == {"zone": "a", "accelerator": "a100"}
    assert settings["exec-gate"]["nodeSelector"]["labels"] == {"zone": "a"}
    assert settings["exec-finetune"]["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    for name, found in settings.items():
        given = {pair["envVar"] for secret in found["secretAsEnv"] for pair in secret["keyToEnv"]}
        assert given == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"}, name
        assert found["securityContext"] == {"runAsUser": "1000", "runAsNonRoot": True}
        assert found["imagePullPolicy"] == "IfNotPresent" and found["imagePullSecret"][0]["secretName"] == "registry"
        assert int(found["activeDeadlineSeconds"]) >= 3600
        assert found["tolerations"][0] == {"key": "team", "operator": "Equal", "value": "vision", "effect": "NoExecute"}
        assert executors[name]["env"] == [{"name": "AWS_ENDPOINT_URL", "value": "http://s3:9000"}]
    assert settings.keys() == executors.keys()
    tasks = tasks_of(spec)
    assert all(task["cachingOptions"] == {} for task in tasks.values())
    assert all(task["retryPolicy"]["backoffDuration"] == "30s" for task in tasks.values())


def test_latency_is_measured_on_a_gpu_where_the_model_is_served_from_one(compiled: Compiled) -> None:
    container = compiled["latency on a GPU"][0]["deploymentSpec"]["executors"]["exec-latency"]["container"]
    assert container["image"] == "registry/graft-latency-gpu:0.1.0-abc"
    assert container["resources"]["accelerator"]["resourceCount"] == "1"
    assert container["args"][container["args"].index("--device") + 1] == "cuda"


def test_no_output_of_a_step_is_the_beginning_of_another() -> None:
    """Kubeflow 2.16 downloads an artifact by its key as a prefix, and would bring its neighbour along."""
    from components.interchange.step import ports

    for step in [*STEPS, *SHARDED_STEPS, *CLUSTER_STEPS]:
        artifacts = [port.name for port in ports(step.spec, "out") if port.kind != "verdict"]
        names = artifacts + [name for name in only_in_kubeflow(step) if not name.endswith("_digest")]
        assert not [pair for pair in itertools.permutations(names, 2) if pair[1].startswith(pair[0])], step.name


def test_wrong_words_for_the_cluster_are_refused() -> None:
    for wrong in (
        lambda: Cluster("registry/", "latest"),
        lambda: Cluster("registry/", ""),
        lambda: Cluster("registry/", "1", user=0),
        lambda: Cluster("registry/", "1", s3_endpoint="seaweedfs:8333"),
        lambda: Cluster("registry/", "1", latency_gpu=True),
        lambda: gpu_of("nvidia.com/gpu"),
        lambda: gpu_of("gpu=0"),
        lambda: selectors_of(["a=b", "zone"], "--node-selector"),
        lambda: tolerations_of(["key:Sometimes"]),
        lambda: secrets_of(["HF_TOKEN=hub"]),
        lambda: resources_of(["finetune.cpu=0"]),
    ):
        with pytest.raises(BadInput, match="xpected"):
            wrong()
    for shards, name in ((2, "ingest"), (1, "ingest_merge")):
        with pytest.raises(BadInput, match=rf"--resource {name}.cpu: with --ingest-shards {shards} there is no such"):
            Cluster("registry/", "1", ingest_shards=shards, resources=resources_of([f"{name}.cpu=2"]))
    with pytest.raises(BadInput, match=r"fintune.cpu=2 .*Close: finetune.*ingest.disk=2"):
        resources_of(["fintune.cpu=2", "ingest.disk=2"])


def test_what_each_run_is_given_anew_cannot_be_fixed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--set ingest.source, finetune.seed: .*--param seed=1"):
        write_yaml(
            tmp_path / "p.yaml", "both", {"ingest": {"source": "x"}, "finetune": {"seed": 7}}, Cluster("registry/", "1")
        )


@pytest.fixture(scope="module")
def spec(compiled: Compiled) -> dict[str, Any]:
    return compiled["tiny"][0]


@pytest.fixture(scope="module")
def first(compiled: Compiled, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    """The one whole run of this module, to a champion; its source is read in two shares."""
    root = tmp_path_factory.mktemp("kubeflow")
    given = {"source": str(tiny_source), "store": str(root / "store"), "model_name": "tiny", "seed": 0}
    return Launcher(compiled["tiny in shares"][0], {**given, "max_p99_ms": 10000.0}, root / "first").run()


def summary_of(launcher: Launcher) -> dict[str, Any]:
    return dict(json.loads((Path(launcher.given["store"]) / "runs" / launcher.run_id / "summary.json").read_text()))


def test_the_commands_of_the_yaml_make_a_champion(first: Launcher) -> None:
    assert not first.failed, first.done[first.failed[0]].stderr
    ran = [step.name.replace("_", "-") for step in graph_for("feature_extraction")[1:]]
    assert set(first.done) == {"ingest-share-0", "ingest-share-1", "ingest-merge", *ran, "changes", "record"}
    store = first.given["store"]
    champion = current(store, "tiny")
    assert champion is not None
    shown = first.values["evaluate"]["artifacts"]
    assert shown["metrics"]["artifacts"][0]["metadata"]["top1 baseline test"] > 0.9
    matrix = shown["confusion"]["artifacts"][0]["metadata"]["confusionMatrix"]
    assert [column["displayName"] for column in matrix["annotationSpecs"]] == ["blue", "green", "red"]
    assert Path(shown["html"]["artifacts"][0]["uri"]).read_text().startswith("<!DOCTYPE html>")

    summary = summary_of(first)
    assert summary["verdict"] == "promote" and summary["model_name"] == "tiny"
    assert summary["test"]["baseline_top1"] > 0.9 and summary["latency"]["p99_ms"] > 0
    assert Path(summary["onnx"]["path"]).is_file() and Path(summary["report"]).is_file()
    seconds = {"ingest_share_1", "ingest_share_2", "ingest_merge", "evaluate", "latency", "total"}
    assert summary["seconds"].keys() >= seconds
    assert "Images by class and split." in Path(summary["report"]).read_text()


def test_the_same_again_ends_early_though_it_is_not_read_in_shares(
    first: Launcher, spec: dict[str, Any], tmp_path: Path
) -> None:
    again = Launcher(spec, first.given, tmp_path).run()

    assert not again.failed, again.done[again.failed[0]].stderr
    assert set(again.done) == {"ingest", "changes", "record"}
    summary = summary_of(again)
    assert summary["verdict"] == "unchanged"
    assert "Images by class and split." in Path(summary["report"]).read_text()


def test_a_source_that_drifted_ends_the_run_before_training(
    first: Launcher, compiled: Compiled, darker_source: Path, tmp_path: Path
) -> None:
    drifted = Launcher(
        compiled["tiny in shares"][0], {**first.given, "source": str(darker_source)}, tmp_path, "run-2"
    ).run()

    assert not drifted.failed
    assert set(drifted.done) == {"ingest-share-0", "ingest-share-1", "ingest-merge", "changes", "record"}
    summary = summary_of(drifted)
    assert summary["verdict"] == "keep" and "the mean of" in summary["reasons"][1]


def test_a_run_that_fails_is_recorded(spec: dict[str, Any], tmp_path: Path) -> None:
    given = {"source": str(tmp_path / "nowhere"), "store": str(tmp_path / "store"), "model_name": "tiny", "seed": 0}
    broken = Launcher(spec, given, tmp_path / "run").run()

    assert broken.failed == ["ingest"] and set(broken.done) == {"ingest", "record"}
    assert broken.done["ingest"].returncode == 2 and "nowhere" in broken.done["ingest"].stderr
    assert not list((tmp_path / "run" / "ingest").iterdir())
    summary = summary_of(broken)
    assert summary["verdict"] == "failed" and summary["model_name"] == "tiny"
    why, *rest = summary["reasons"]
    assert why.startswith("ingest failed: ") and "nowhere" in why
    assert rest == [
        "the run did not come to its end; steps with a report: none",
        "Kubeflow says FAILED",
    ]
