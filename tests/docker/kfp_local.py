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


def main(pipeline: str, root: str, parameters: str, settings: str) -> int:
    handler.run_docker_container = run_docker_container
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
