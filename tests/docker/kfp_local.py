"""Runs a compiled pipeline through kfp's own local runner, every task in its container:
`python -m tests.docker.kfp_local PIPELINE.yaml ROOT PARAMETERS.json SETTINGS.json`. Exit code 1 when the run fails.

Settings are docker's: user, network, environment. The containers have a read-only root and no capability.
"""

import json
import sys
from pathlib import Path
from typing import Any

import kfp.local.docker_task_handler as handler
from kfp import local
from kfp.components import load_component_from_file
from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator


def run_docker_container(client: Any, image: str, command: list[str], volumes: dict[str, Any], **settings: Any) -> int:
    """As kfp's, but the exit code is the container's: kfp's removes the container at once, and takes one that it
    does not find any more for a success (kubeflow/pipelines issue 13332)."""
    container = client.containers.run(image=image, command=command, detach=True, volumes=volumes, **settings)
    try:
        for line in container.logs(stream=True):
            print(line.decode(errors="replace"), end="")
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)


resolve = ConditionEvaluator._resolve_pipeline_channel


def resolve_named_output(channel: str, values: Any) -> Any:
    """As kfp's, which in `pipelinechannel--TASK-OUTPUT` of a task beside the condition finds no output but those called
    `Output`, and takes the condition for false. A cluster's driver reads the condition's declared inputs."""
    name = channel.removeprefix("pipelinechannel--")
    for place in (place for place, letter in enumerate(name) if letter == "-"):
        try:
            return values.get_task_output(name[:place], name[place + 1 :])
        except (KeyError, ValueError):
            continue
    return resolve(channel, values)


def main(pipeline: str, root: str, parameters: str, settings: str) -> int:
    handler.run_docker_container = run_docker_container
    ConditionEvaluator._resolve_pipeline_channel = staticmethod(resolve_named_output)
    given = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "read_only": True, "tmpfs": {"/tmp": ""}}
    runner = local.DockerRunner(**given, **json.loads(Path(settings).read_text()))
    local.init(runner, pipeline_root=root, raise_on_error=True)
    try:
        load_component_from_file(pipeline)(**json.loads(Path(parameters).read_text()))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
