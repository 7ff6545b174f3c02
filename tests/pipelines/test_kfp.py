"""The compiled Kubeflow pipeline: its edges, and its commands run as the launcher would run them. Without a cluster."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.interchange.errors import BadInput
from pipelines.cluster import cluster_of
from pipelines.steps import edges, graph_for
from tests.conftest import TINY_BACKBONE, TINY_INPUT_PX

Compile = Callable[..., dict[str, Any]]
PLACE = re.compile(r"\{\{\$\.(inputs|outputs)\.(artifacts|parameters)\['(\w+)'\](?:\.(path|output_file))?\}\}")


@pytest.fixture(scope="module")
def compile_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """`graft compile` in a process of its own, and the first document of the YAML, read."""

    def compiled(*words: object) -> dict[str, Any]:
        path = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
        command = [sys.executable, "-m", "pipelines.cli", "compile", "--output", path]
        command += ["--image-prefix", "registry/graft-", "--image-tag", "0.1.0-abc", *words]
        subprocess.run([str(word) for word in command], check=True)
        text = path.read_text()
        assert "pip install" not in text and ":latest" not in text
        return dict(next(yaml.safe_load_all(text)))

    return compiled


def tasks_of(dag: dict[str, Any], spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Tasks of a graph and of the conditions in it, with every input artifact traced to the task that writes it."""
    found = {}
    for name, task in dag["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" not in component:
            found[name] = task
            continue
        outside = task["inputs"]["artifacts"]
        for inner_name, inner in tasks_of(component, spec).items():
            for artifact in inner["inputs"]["artifacts"].values():
                if "componentInputArtifact" in artifact:
                    artifact |= outside[artifact.pop("componentInputArtifact")]
            found[inner_name] = inner
    return found


def written_edges(tasks: dict[str, dict[str, Any]]) -> set[tuple[str, str]]:
    """(`step.port` that is written, `step.port` that reads it), as `pipelines.steps.edges` has them."""
    return {
        (
            f"{source['producerTask'].replace('-', '_')}.{source['outputArtifactKey']}",
            f"{name.replace('-', '_')}.{port}",
        )
        for name, task in tasks.items()
        for port, artifact in task.get("inputs", {}).get("artifacts", {}).items()
        for source in [artifact["taskOutputArtifact"]]
    }


@pytest.mark.parametrize("strategy", ["both", "feature_extraction", "finetune"])
def test_the_pipeline_has_the_edges_of_the_steps(compile_pipeline: Compile, strategy: Any) -> None:
    spec = compile_pipeline("--recipe", "demo", "--strategy", strategy)

    assert written_edges(tasks_of(spec["root"], spec)) == edges(graph_for(strategy))


def test_what_the_cluster_gives_reaches_the_tasks(compile_pipeline: Compile) -> None:
    spec = compile_pipeline("--recipe", "demo", "--gpu", "nvidia.com/gpu=2")
    executors = {name: found["container"] for name, found in spec["deploymentSpec"]["executors"].items()}

    assert executors["exec-finetune"]["image"] == "registry/graft-train:0.1.0-abc"
    assert executors["exec-gate"]["image"] == "registry/graft-control:0.1.0-abc"
    assert executors["exec-finetune"]["resources"]["accelerator"]["resourceCount"] == "2"
    arguments = executors["exec-finetune"]["args"]
    assert arguments[arguments.index("--device") + 1] == "cuda"
    assert "accelerator" not in executors["exec-latency"]["resources"]
    uncached = {name for name, task in tasks_of(spec["root"], spec).items() if not task["cachingOptions"]}
    assert uncached == {"ingest", "evaluate", "gate", "promote"}


@pytest.mark.parametrize(("tag", "gpu"), [("latest", None), ("", None), ("1", "nvidia.com/gpu"), ("1", "gpu=0")])
def test_wrong_words_for_the_cluster_are_refused(tag: str, gpu: str | None) -> None:
    with pytest.raises(BadInput, match="expected"):
        cluster_of("registry/", tag, gpu, None, None)


class Launcher:
    """Runs the tasks of a compiled pipeline in order, with the files that Kubeflow's launcher would give them."""

    def __init__(self, spec: dict[str, Any], given: dict[str, Any], root: Path) -> None:
        self.spec, self.given, self.root = spec, given, root
        self.values: dict[str, dict[str, Any]] = {}

    def run(self, name: str, task: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        component = self.spec["components"][task["componentRef"]["name"]]
        container = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        folder = self.root / name
        folder.mkdir()
        asked = self._asked(task, component, folder)
        words = [word for argument in container["args"] for word in self._filled(argument, asked)]
        done = subprocess.run(
            [sys.executable, *container["command"][1:], *words], capture_output=True, text=True, timeout=300
        )
        if done.returncode == 0:
            written = json.loads(Path(asked["outputs"]["outputFile"]).read_text())
            declared = component["outputDefinitions"]
            assert written["artifacts"].keys() == declared.get("artifacts", {}).keys()
            assert written["parameterValues"].keys() == declared.get("parameters", {}).keys()
            self.values[name] = written
        return done

    def _asked(self, task: dict[str, Any], component: dict[str, Any], folder: Path) -> dict[str, Any]:
        inputs, declared = task.get("inputs", {}), component["outputDefinitions"]
        return {
            "inputs": {
                "artifacts": {port: self._artifact(found) for port, found in inputs.get("artifacts", {}).items()},
                "parameters": {name: self._parameter(found) for name, found in inputs.get("parameters", {}).items()},
            },
            "outputs": {
                "artifacts": {
                    name: {"artifacts": [{"name": name, "uri": str(folder / name), "metadata": {}}]}
                    for name in declared.get("artifacts", {})
                },
                "parameters": {name: {"outputFile": str(folder / name)} for name in declared.get("parameters", {})},
                "outputFile": str(folder / "executor_output.json"),
            },
        }

    def _artifact(self, found: dict[str, Any]) -> dict[str, Any]:
        source = found["taskOutputArtifact"]
        return dict(self.values[source["producerTask"]]["artifacts"][source["outputArtifactKey"]])

    def _parameter(self, found: dict[str, Any]) -> Any:
        if "runtimeValue" in found:
            return found["runtimeValue"]["constant"].replace("{{$.pipeline_job_uuid}}", "run-1")
        return self.given.get(found["componentInputParameter"].removeprefix("pipelinechannel--"))

    def _filled(self, argument: str, asked: dict[str, Any]) -> list[str]:
        if argument == "{{$}}":
            return [json.dumps(asked)]
        if argument.startswith('{"IfPresent"'):
            optional = json.loads(argument)["IfPresent"]
            present = asked["inputs"]["parameters"].get(optional["InputName"]) is not None
            return [word for part in optional["Then"] for word in self._filled(part, asked)] if present else []

        def value(match: re.Match[str]) -> str:
            side, kind, name, _ = match.groups()
            found = asked[side][kind][name]
            if kind == "artifacts":
                return str(found["artifacts"][0]["uri"])
            return str(found["outputFile"] if side == "outputs" else found)

        return [PLACE.sub(value, argument)]


def test_the_commands_of_the_yaml_make_a_champion(
    compile_pipeline: Compile, tiny_source: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    sets = {
        "ingest.stored-size-px": 40,
        "feature_extraction.weights": tiny_weights,
        "feature_extraction.input-size-px": TINY_INPUT_PX,
        "export_onnx.parity-samples": 8,
        "latency.timed-runs": 500,
        "latency.max-warmup-runs": 60,
        "latency.throughput-s": 0.1,
    }
    words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    spec = compile_pipeline("--backbone", TINY_BACKBONE, "--strategy", "feature_extraction", *words)
    store = tmp_path / "store"
    given = {"source": str(tiny_source), "store": str(store), "model_name": "tiny", "seed": 0, "max_p99_ms": 10000.0}
    launcher = Launcher(spec, given, tmp_path)
    tasks = tasks_of(spec["root"], spec)

    for step in graph_for("feature_extraction"):
        name = step.name.replace("_", "-")
        done = launcher.run(name, tasks[name])
        assert done.returncode == 0, done.stderr
    verdict = launcher.values["gate"]["parameterValues"]["verdict"]
    condition = spec["root"]["dag"]["tasks"]["condition-1"]["triggerPolicy"]["condition"]
    assert ast.literal_eval(condition.split("== ")[1]) == verdict == "promote"
    assert (store / "champions" / "tiny.json").is_file()
    shown = launcher.values["evaluate"]["artifacts"]
    assert shown["metrics"]["artifacts"][0]["metadata"]["top1 baseline test"] > 0.9
    matrix = shown["confusion"]["artifacts"][0]["metadata"]["confusionMatrix"]
    assert [column["displayName"] for column in matrix["annotationSpecs"]] == ["blue", "green", "red"]
    assert Path(shown["html"]["artifacts"][0]["uri"]).read_text().startswith("<!DOCTYPE html>")

    broken = Launcher(spec, given | {"source": str(tmp_path / "nowhere")}, tmp_path / "broken")
    (tmp_path / "broken").mkdir()
    failed = broken.run("ingest", tasks["ingest"])
    assert failed.returncode == 2
    assert "nowhere" in failed.stderr
    assert not list((tmp_path / "broken" / "ingest").iterdir())
