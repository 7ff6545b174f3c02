"""`graft doctor --cluster` against a server that speaks Kubeflow's API and is no cluster: what it uploads is run here,
by its own command lines, as Kubeflow's launcher would."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kfp_server_api as api
import pytest
import yaml
from typer.testing import CliRunner, Result

from pipelines.cli import app
from tests.pipelines.kubeflow_server import Cluster, kubeflow_server
from tests.pipelines.launcher import Launcher

Doctor = Callable[..., Result]
PULLED = {"image ingest", "image export", "image latency", "image control"}


def doctor(cluster: Cluster, store: Path | str, *words: object) -> Result:
    given = ["doctor", "--cluster", "--store", store, "--image-prefix", "r/graft-", "--image-tag", "1", "--json"]
    given += ["--poll-s", 0.01, *words]
    return CliRunner().invoke(app, [str(word) for word in given], env={"KF_PIPELINES_ENDPOINT": cluster.address})


def checks_of(result: Result) -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in json.loads(result.stdout.splitlines()[-1])["checks"]}


def executing(cluster: Cluster, root: Path, broken_image: str = "") -> Callable[[Any], None]:
    """What runs a submitted pipeline, beside the server's answers: a task's state as its process ended; an image that
    is broken does not start."""

    def started(run: Any) -> None:
        cluster.states[:] = ["RUNNING"]
        threading.Thread(target=ran, args=(run,)).start()

    def ran(run: Any) -> None:
        state = "FAILED"
        try:
            tasks = states_of(run)
            details = [api.V2beta1PipelineTaskDetail(display_name=name, state=found) for name, found in tasks.items()]
            run.run_details = api.V2beta1RunDetails(task_details=details)
            state = "FAILED" if "FAILED" in tasks.values() else "SUCCEEDED"
        finally:
            cluster.states[:] = [state]

    def states_of(run: Any) -> dict[str, str]:
        package = cluster.packages[run.pipeline_version_reference.pipeline_version_id]
        spec, _ = yaml.safe_load_all(
            re.sub(rb".*Content-Type: [^\r\n]*\r\n\r\n|\r\n--[^\r\n]*\r\n$", b"", package, flags=re.S)
        )
        done = Launcher(spec, run.runtime_config.parameters, root / run.run_id, run.run_id)
        names = {task: found["taskInfo"]["name"] for task, found in spec["root"]["dag"]["tasks"].items()}
        for task, name in names.items():
            if name == broken_image:
                del spec["root"]["dag"]["tasks"][task]
        done.run()
        states = {names[task]: "FAILED" if task in done.failed else "SUCCEEDED" for task in done.done}
        return states | ({broken_image: "FAILED"} if broken_image else {})

    return started


def test_a_good_cluster_passes(tmp_path: Path) -> None:
    with kubeflow_server() as cluster:
        cluster.started = executing(cluster, tmp_path / "pods")
        done = doctor(cluster, tmp_path / "store")
        (run,) = cluster.runs.values()
    assert done.exit_code == 0, done.output
    checks = checks_of(done)
    assert checks["kubeflow"]["found"] == "version 2.17.0"
    assert checks.keys() > PULLED and checks["store"]["state"] == checks["conditional writes"]["state"] == "ok"
    assert {one["state"] for one in checks.values()} <= {"ok", "warn"}
    assert (tmp_path / "store" / "doctor" / f"{run.run_id}.json").is_file()


def test_each_failure_has_its_remedy(tmp_path: Path) -> None:
    """No GPU here, an image that no node can pull, and a Kubeflow that is too old."""
    with kubeflow_server(release="2.4.1") as cluster:
        cluster.started = executing(cluster, tmp_path / "pods", "image export")
        done = doctor(cluster, tmp_path / "store", "--gpu", "nvidia.com/gpu=9")
    assert done.exit_code == 2
    failed = {name: one for name, one in checks_of(done).items() if one["state"] == "fail"}
    assert failed.keys() == {"kubeflow", "image export", "gpu"}
    assert "2.16" in failed["kubeflow"]["remedy"] and "--pull-secret" in failed["image export"]["remedy"]
    assert "device plugin" in failed["gpu"]["remedy"]


def test_a_pod_that_does_not_reach_the_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").touch()  # A file, where a folder is expected.
    with kubeflow_server() as cluster:
        cluster.started = executing(cluster, tmp_path / "pods")
        done = doctor(cluster, tmp_path / "store" / "inside")
    assert done.exit_code == 2
    assert checks_of(done)["report"]["state"] == "fail"


def test_a_pod_that_never_starts_is_told(tmp_path: Path) -> None:
    with kubeflow_server(states=["PENDING"]) as cluster:
        done = doctor(cluster, tmp_path / "store", "--wait-s", 1)
    assert done.exit_code == 2
    pods = checks_of(done)["pods"]
    assert "PENDING after 1 s" in pods["found"] and "kubectl describe pod" in pods["remedy"]


@pytest.mark.parametrize("words", [["--image-tag", "latest"], ["--gpu", "gpu"]])
def test_wrong_words_are_refused_before_anything_is_sent(words: list[str], tmp_path: Path) -> None:
    with kubeflow_server() as cluster:
        assert doctor(cluster, tmp_path, *words).exit_code == 2
        assert not cluster.runs
