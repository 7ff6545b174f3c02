"""infra/prefect: its deployment read by a test, and really deployed and run by `make test-prefect`."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.cron import next_time
from pipelines.recipes import recipe
from pipelines.run_options import RunOptions
from tests.conftest import TINY_BACKBONE, TINY_INPUT_PX

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra" / "prefect" / "prefect.yaml"


def deployments() -> list[dict[str, Any]]:
    return list(yaml.safe_load(FILE.read_text())["deployments"])


def test_the_deployment_asks_for_what_graft_run_knows() -> None:
    for one in deployments():
        options = one["parameters"]["options"]
        assert options.keys() <= {field.name for field in fields(RunOptions)}
        recipe(options["recipe"])
        module, _, flow = one["entrypoint"].rpartition(".")
        assert getattr(import_module(module), flow).name == "graft-retrain"
        for schedule in one["schedules"]:
            next_time(schedule["cron"], schedule["timezone"])


class Prefect:
    """A Prefect server of this test's own, and its command line."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}/api"
        own = {"PREFECT_HOME": str(home), "PREFECT_API_URL": self.address, "PREFECT_UI_ENABLED": "0"}
        own |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "NO_COLOR": "1"}
        self.environment = {**os.environ, **own}
        command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
        command += ["--log-level", "error", "--lifespan", "on", "--host", "127.0.0.1", "--port", str(port)]
        self.server = subprocess.Popen(command, env=self.environment)

    def wait(self) -> None:
        for _ in range(180):
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5).read()
                return
            except OSError:
                time.sleep(0.5)
        raise RuntimeError("the Prefect server does not answer")

    def __call__(self, *words: object) -> str:
        command = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", *(str(word) for word in words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.address}{path}", data, {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(asked, timeout=30))


@pytest.fixture
def prefect(tmp_path: Path) -> Iterator[Prefect]:
    server = Prefect(tmp_path / "prefect")
    try:
        server.wait()
        yield server
    finally:
        server.server.terminate()
        server.server.wait(30)


@pytest.mark.slow
def test_what_is_deployed_runs_on_a_worker(
    prefect: Prefect, tiny_source: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    prefect("work-pool", "create", "graft", "--type", "process")
    prefect("deploy", "--all", "--prefect-file", FILE)
    found = prefect.ask("/deployments/name/graft-retrain/parts")
    assert found["work_pool_name"] == "graft" and found["parameters"] == deployments()[0]["parameters"]
    assert [one["schedule"]["cron"] for one in found["schedules"]] == ["0 2 * * *"]
    assert "successfully" in prefect("deploy", "--all", "--prefect-file", FILE)
    assert prefect.ask("/deployments/name/graft-retrain/parts")["id"] == found["id"]

    sets = ["ingest.stored-size-px=40", "evaluate.bootstrap-samples=500", "export_onnx.parity-samples=16"]
    sets += [f"feature_extraction.weights={tiny_weights}", f"feature_extraction.input-size-px={TINY_INPUT_PX}"]
    sets += ["latency.timed-runs=200", "latency.max-warmup-runs=100", "latency.throughput-s=0.1"]
    options = {"source": str(tiny_source), "store": str(tmp_path / "store"), "model_name": "parts", "set": sets}
    options |= {"backbone": TINY_BACKBONE, "strategy": "feature_extraction"}
    body = {"parameters": {"options": options}, "state": {"type": "SCHEDULED"}}
    run = prefect.ask(f"/deployments/{found['id']}/create_flow_run", body)
    prefect("worker", "start", "--pool", "graft", "--limit", 1, "--run-once")
    ended = prefect.ask(f"/flow_runs/{run['id']}")["state"]
    assert ended["type"] == "COMPLETED" and ended["message"].startswith("promote"), ended
    assert (tmp_path / "store" / "champions" / "parts.json").is_file()
