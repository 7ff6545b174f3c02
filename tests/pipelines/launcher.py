"""Runs a compiled pipeline as Kubeflow would, without a cluster: its graph, conditions, loops, exit handler, and each
task's own command line with the files that Kubeflow's launcher would give it."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import warm

PLACE = re.compile(r"\{\{\$\.(inputs|outputs)\.(artifacts|parameters)\['(\w+)'\](?:\.(path|output_file))?\}\}")
CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\] == '(\w+)'")
RUN_ID = "run-1"
Scope = dict[str, Any]


def tasks_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Tasks of a pipeline, its conditions and loops, with every input artifact traced to the task that writes it."""
    copied = copy.deepcopy(spec)
    return _tasks_of(copied["root"], copied)


def _tasks_of(dag: dict[str, Any], spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    collected: dict[str, Any] = {}
    for name, task in dag["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" not in component:
            found[name] = task
            continue
        outside = task.get("inputs", {}).get("artifacts", {})
        collected[name] = component["dag"].get("outputs", {}).get("artifacts", {})
        for inner_name, inner in _tasks_of(component, spec).items():
            for artifact in inner.get("inputs", {}).get("artifacts", {}).values():
                if "componentInputArtifact" in artifact:
                    artifact |= outside[artifact.pop("componentInputArtifact")]
            found[inner_name] = inner
    for task in found.values():
        for artifact in task.get("inputs", {}).get("artifacts", {}).values():
            source = artifact.get("taskOutputArtifact", {})
            if source.get("producerTask") in collected:
                (selector,) = collected[source["producerTask"]][source["outputArtifactKey"]]["artifactSelectors"]
                source |= {
                    "producerTask": selector["producerSubtask"],
                    "outputArtifactKey": selector["outputArtifactKey"],
                }
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


class Launcher:
    """One run of a compiled pipeline, below `root`. `done` has every task's process, `values` what it wrote."""

    def __init__(self, spec: dict[str, Any], given: dict[str, Any], root: Path, run_id: str = RUN_ID) -> None:
        self.spec, self.root, self.run_id = spec, root, run_id
        self.given = {**dict.fromkeys(spec["root"]["inputDefinitions"]["parameters"]), **given}
        self.done: dict[str, subprocess.CompletedProcess[str]] = {}
        self.values: dict[str, dict[str, Any]] = {}
        self.failed: list[str] = []
        self.iteration = ""

    def run(self) -> "Launcher":
        """Run every task that Kubeflow would run; the names of those that ended with an error are in `failed`."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._graph(self.spec["root"], {"parameters": self.given, "artifacts": {}})
        return self

    def _graph(self, component: dict[str, Any], scope: Scope) -> None:
        tasks = dict(component["dag"]["tasks"])
        ended: set[str] = set()
        while tasks:
            ready = [name for name, task in tasks.items() if ended >= set(task.get("dependentTasks", []))]
            name, task = ready[0], tasks.pop(ready[0])
            ended.add(name)
            always = task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
            if always or not self.failed:
                self._task(name, task, scope)

    def _task(self, name: str, task: dict[str, Any], scope: Scope) -> None:
        inside = self._inputs(task.get("inputs", {}), scope)
        wanted = CONDITION.search(task.get("triggerPolicy", {}).get("condition", ""))
        if wanted and inside["parameters"][wanted[1]] != wanted[2]:
            return
        component = self.spec["components"][task["componentRef"]["name"]]
        if "parameterIterator" in task:
            self._loop(name, task["parameterIterator"], component, inside)
        elif "dag" in component:
            self._graph(component, inside)
        else:
            self._container(name, component, inside)

    def _loop(self, name: str, iterator: dict[str, Any], component: dict[str, Any], scope: Scope) -> None:
        """Run a loop's graph once an item; what it collects are lists of artifacts."""
        collected = component["dag"].get("outputs", {}).get("artifacts", {})
        lists: dict[str, list[Any]] = {key: [] for key in collected}
        for number, item in enumerate(json.loads(iterator["items"]["raw"])):
            self.iteration = f"-{number}"
            self._graph(component, {**scope, "parameters": {**scope["parameters"], iterator["itemInput"]: item}})
            for key, found in collected.items() if not self.failed else ():
                (selector,) = found["artifactSelectors"]
                written = self.values[selector["producerSubtask"]]["artifacts"][selector["outputArtifactKey"]]
                lists[key] += written["artifacts"]
        self.iteration = ""
        self.values[name] = {"artifacts": {key: {"artifacts": found} for key, found in lists.items()}}

    def _inputs(self, inputs: dict[str, Any], scope: Scope) -> Scope:
        return {
            "parameters": {name: self._parameter(found, scope) for name, found in inputs.get("parameters", {}).items()},
            "artifacts": {name: self._artifact(found, scope) for name, found in inputs.get("artifacts", {}).items()},
        }

    def _parameter(self, found: dict[str, Any], scope: Scope) -> Any:
        if "runtimeValue" in found:
            return found["runtimeValue"]["constant"].replace("{{$.pipeline_job_uuid}}", self.run_id)
        if "componentInputParameter" in found:
            return scope["parameters"][found["componentInputParameter"]]
        if "taskFinalStatus" in found:
            return {"state": "FAILED" if self.failed else "COMPLETE", "error": {}}
        source = found["taskOutputParameter"]
        return self.values[source["producerTask"]]["parameterValues"][source["outputParameterKey"]]

    def _artifact(self, found: dict[str, Any], scope: Scope) -> dict[str, Any]:
        if "componentInputArtifact" in found:
            return dict(scope["artifacts"][found["componentInputArtifact"]])
        source = found["taskOutputArtifact"]
        return dict(self.values[source["producerTask"]]["artifacts"][source["outputArtifactKey"]])

    def _container(self, name: str, component: dict[str, Any], inside: Scope) -> None:
        place = f"{name}{self.iteration}"
        command, asked = self.command(place, component, inside)
        self.done[place] = done = _ended(command)
        if done.returncode != 0:
            self.failed.append(place)
            return
        told = Path(asked["outputs"]["outputFile"])  # A task without outputs need not write it.
        written = json.loads(told.read_text()) if told.exists() else {"artifacts": {}, "parameterValues": {}}
        declared = component.get("outputDefinitions", {})
        assert written["artifacts"].keys() == declared.get("artifacts", {}).keys(), name
        assert written["parameterValues"].keys() == declared.get("parameters", {}).keys(), name
        self.values[name] = written

    def command(self, name: str, component: dict[str, Any], inside: Scope) -> tuple[list[str], dict[str, Any]]:
        """A task's command line with this machine's own programs, and what the launcher would ask it for."""
        container = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        (self.root / name).mkdir(parents=True)
        asked = self._asked(inside, component.get("outputDefinitions", {}), self.root / name)
        words = [word for argument in container.get("args", []) for word in _filled(argument, asked)]
        program, *more = container["command"]
        return [str(Path(sys.executable).with_name(program)), *more, *words], asked

    def _asked(self, inside: Scope, declared: dict[str, Any], folder: Path) -> dict[str, Any]:
        return {
            "inputs": {"artifacts": inside["artifacts"], "parameterValues": inside["parameters"]},
            "outputs": {
                "artifacts": {
                    name: {"artifacts": [{"name": name, "uri": str(folder / name), "metadata": {}}]}
                    for name in declared.get("artifacts", {})
                },
                "parameters": {name: {"outputFile": str(folder / name)} for name in declared.get("parameters", {})},
                "outputFile": str(folder / "executor_output.json"),
            },
        }


def _ended(command: list[str]) -> "subprocess.CompletedProcess[str]":
    """A task's process when it has ended; a module of Graft starts with its imports done."""
    _, option, module, *words = command
    if option == "-m":
        return warm.run(module, *words)
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def _filled(argument: str, asked: dict[str, Any]) -> list[str]:
    """The words that the launcher makes of one argument of a container."""
    if argument == "{{$}}":
        return [json.dumps(asked)]
    if argument.startswith('{"IfPresent"'):
        optional = json.loads(argument)["IfPresent"]
        present = asked["inputs"]["parameterValues"].get(optional["InputName"]) is not None
        return [word for part in optional["Then"] for word in _filled(part, asked)] if present else []
    if argument.startswith('{"Concat"'):
        return ["".join(word for part in json.loads(argument)["Concat"] for word in _filled(part, asked))]

    def value(match: re.Match[str]) -> str:
        side, kind, name, _ = match.groups()
        if kind == "artifacts":
            return str(asked[side]["artifacts"][name]["artifacts"][0]["uri"])
        if side == "outputs":
            return str(asked["outputs"]["parameters"][name]["outputFile"])
        found = asked["inputs"]["parameterValues"][name]
        return json.dumps(found) if isinstance(found, dict) else str(found)

    return [PLACE.sub(value, argument)]
