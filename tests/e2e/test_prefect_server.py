"""A run that a Prefect server of its user's records: its flow run, tasks and artifacts, read back from that server."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.prefect_server import prefect_api
from tests.e2e.conftest import GRAFT, Run, Words


def asked(path: str, **body: Any) -> Any:
    """What the server answers."""
    name, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
    answer = httpx.post(f"{os.environ['PREFECT_API_URL']}/{path}", json=body, auth=(name, password), timeout=30)
    answer.raise_for_status()
    return answer.json()


@pytest.mark.slow
def test_a_configured_server_has_the_scores_the_steps_and_a_link_to_the_page(
    tiny_run: Run, tiny_source: Path, darker_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of a run that drift ends, the steps that it left out. Each step has a process of its own."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with prefect_api(tmp_path / "prefect", lambda: None, lasting=True) as wait_until_up:
        wait_until_up()
        told = tmp_path / "prefect" / "password"
        assert told.read_text().strip() == os.environ["PREFECT_API_AUTH_STRING"] and told.stat().st_mode & 0o77 == 0
        # Anybody on this machine, and any web page that is open on it, could start runs in our name.
        assert httpx.post(f"{os.environ['PREFECT_API_URL']}/flow_runs/filter", json={}).status_code == 401
        ended = tiny_run(tiny_source, tmp_path / "store", "--model-name", "Parts_2", engine="prefect", runner="process")
        assert ended.code == 0, ended.err
        (flow_run,) = asked("flow_runs/filter")
        artifacts = {one["key"]: one for one in asked("artifacts/filter")}
        tasks = asked("task_runs/filter")
        words = ("--model-name", "Parts_2", "--on-drift", "stop")
        stopped = tiny_run(darker_source, tmp_path / "store", *words, engine="prefect")
        of_both = asked("task_runs/filter")
    assert flow_run["name"] == ended.summary["run_id"] and flow_run["state_type"] == "COMPLETED"
    assert {one["state_type"] for one in tasks} == {"COMPLETED"} and len(tasks) == 8
    assert artifacts.keys() == {"graft-parts-2-scores", "graft-parts-2-steps", "graft-parts-2-page"}
    assert {one["flow_run_id"] for one in artifacts.values()} == {flow_run["id"]}
    scores = {row["what"]: row["value"] for row in json.loads(artifacts["graft-parts-2-scores"]["data"])}
    assert scores["verdict"] == "promote" and f"(n {ended.summary['test']['n']})" in scores["test top1, candidate"]
    steps = json.loads(artifacts["graft-parts-2-steps"]["data"])
    assert {row["step"]: row["what"] for row in steps} == dict.fromkeys([row["step"] for row in steps], "run")
    assert len(steps) == 8
    assert Path(ended.summary["report"]).as_uri() in artifacts["graft-parts-2-page"]["data"]
    assert stopped.code == 0 and stopped.summary["verdict"] == "keep", stopped.err
    left_out = {one["name"]: one["state"]["message"] for one in of_both if one["state_name"] == "Skipped"}
    drifted = "the images drifted since the champion"
    assert left_out == {row["step"]: drifted for row in steps if row["step"] != "ingest"}


def run_under_way(server: "subprocess.Popen[bytes]") -> bool:
    """Whether `graft serve` has started the process of a run, be it that it still imports."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return any(b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


@pytest.mark.slow
def test_ctrl_c_while_a_scheduled_run_starts_ends_in_words(
    tiny_words: Words, tiny_source: Path, tmp_path: Path
) -> None:
    """The terminal tells every process of its group, the run's too, which imports for seconds."""
    words = [word for word in tiny_words(tiny_source, tmp_path / "store", engine="prefect")[1:] if word != "--json"]
    with (tmp_path / "serve.log").open("wb") as log:
        serving = subprocess.Popen(
            [GRAFT, "serve", "--cron", "* * * * *", *words],
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # Background jobs ignore it.
        )
    try:
        until = time.monotonic() + 180
        while not run_under_way(serving):
            assert serving.poll() is None and time.monotonic() < until, (tmp_path / "serve.log").read_text()
            time.sleep(0.05)
        time.sleep(0.5)  # It has begun to import, and is not done.
        os.killpg(serving.pid, signal.SIGINT)
        assert serving.wait(60) == 0
    finally:
        serving.kill()
    said = (tmp_path / "serve.log").read_text()
    assert "Traceback" not in said
    assert said.endswith("graft: the schedule is not served any more; the same command takes it up again\n")


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_serving_that_ends_before_it_has_begun_ends_in_words(
    tiny_words: Words, tiny_source: Path, tmp_path: Path, by: signal.Signals
) -> None:
    words = [word for word in tiny_words(tiny_source, tmp_path / "store", engine="prefect")[1:] if word != "--json"]
    with subprocess.Popen(
        [GRAFT, "serve", "--cron", "0 0 1 1 *", *words],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as serving:
        assert serving.stderr is not None
        assert serving.stderr.readline().startswith("graft: serving ")
        serving.send_signal(by)
        said = serving.stderr.read()
    assert said == "graft: the schedule is not served any more; the same command takes it up again\n"
    assert serving.returncode == 0


@pytest.mark.slow
def test_a_scheduled_run_that_sigterm_ends_is_recorded_and_told(
    tiny_words: Words, tiny_source: Path, tmp_path: Path
) -> None:
    """In the midst of Prefect's flow, whose runner sends the signal on to the run."""
    store, told, log = tmp_path / "store", tmp_path / "told.json", tmp_path / "serve.log"
    words = [
        word for word in tiny_words(tiny_source, store, runner="process", engine="prefect")[1:] if word != "--json"
    ]
    command = [GRAFT, "serve", "--cron", "* * * * *", *words, "--notify", f"tee {told}"]
    with log.open("w") as stream:
        serving = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        until = time.monotonic() + 180
        while "\ningest  " not in log.read_text():
            assert serving.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        serving.terminate()
        assert serving.wait(60) == 0
    finally:
        serving.kill()
    assert "Traceback" not in log.read_text()
    (recorded,) = (store / "runs").glob("*/summary.json")
    for place in (recorded, told):
        summary = json.loads(place.read_text())
        assert summary["verdict"] == "interrupted" and "ended by SIGTERM" in summary["reasons"][0]
