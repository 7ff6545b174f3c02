"""One step through the runner: run, found again, made again when damaged, refused."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.interchange.dataset import open_dataset
from pipelines.plan import Request, look_up, plan
from pipelines.run_options import RunOptions
from pipelines.runner import StepFailed, perform
from pipelines.session import request_for
from pipelines.steps import BY_NAME
from pipelines.store import open_store

SETS = ["ingest.stored-size-px=40"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def request_(tmp_path: Path, tiny_source: Path) -> Request:
    return request_for(
        RunOptions(
            str(tiny_source), str(tmp_path / "store"), recipe="demo", model_name="m", set=tuple(SETS), runner="inline"
        )
    )


def test_a_step_runs_once_and_again_only_when_its_artifact_is_damaged(
    request_: Request, capfd: pytest.CaptureFixture[str]
) -> None:
    first = perform(request_, open_store(request_.store), "ingest", {})
    assert (first.action, first.why) == ("run", "not run before")
    assert open_dataset(open_store(request_.store).artifact(first.outputs["dataset"])).manifest.stored_size_px == 40
    assert first.figure == "90 images, 0 quarantined"

    second = perform(request_, open_store(request_.store), "ingest", {})
    assert (second.action, second.seconds, second.outputs) == ("unchanged", 0.0, first.outputs)

    (open_store(request_.store).artifact(first.outputs["dataset"]) / "manifest.json").write_text("{}")
    third = perform(request_, open_store(request_.store), "ingest", {})
    assert third.action == "run"
    assert "is damaged: manifest.json has 2 bytes" in third.why
    assert third.outputs == first.outputs
    assert not list((open_store(request_.store).root / "tmp").iterdir())


def test_a_changed_parameter_is_named(request_: Request) -> None:
    perform(request_, open_store(request_.store), "ingest", {})
    values = request_.values | {"ingest": request_.values["ingest"] | {"val_fraction": 0.25}}
    changed = dataclasses.replace(request_, values=values)
    found = {one.step.name: one for one in plan(changed, open_store(request_.store))}
    assert found["ingest"].why == "changed: val_fraction 0.2 -> 0.25"
    assert found["evaluate"].action == "waits"


@pytest.mark.parametrize("runner", ["inline", "process"])
def test_a_step_that_refuses_its_input_says_so_once_and_leaves_nothing(
    request_: Request, tmp_path: Path, capfd: pytest.CaptureFixture[str], runner: str
) -> None:
    (tmp_path / "one class" / "only").mkdir(parents=True)
    (tmp_path / "one class" / "only" / "a.png").write_bytes(b"no image")
    values = request_.values | {"ingest": {"source": str(tmp_path / "one class")}}
    store = open_store(request_.store)

    with pytest.raises(StepFailed) as failure:
        perform(dataclasses.replace(request_, values=values, runner=runner), store, "ingest", {})

    assert failure.value.code == 2
    shown = capfd.readouterr().err
    assert shown.count("ingest: ") == 1
    assert "Traceback" not in shown
    assert not (store.root / "artifacts").exists()
    assert not list((store.root / "tmp").iterdir())


def test_a_training_goes_on_from_the_store_and_leaves_no_checkpoint(
    request_: Request, tiny_weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = {"backbone": "test_resnet", "weights": str(tiny_weights), "input_size_px": 32, "num_epochs": 1}
    tiny = dataclasses.replace(request_, values=request_.values | {"finetune": {**small, "device": "cpu"}})
    store = open_store(request_.store)
    inputs = perform(tiny, store, "ingest", {}).outputs
    needed = {"dataset": inputs["dataset"]}
    key = look_up(tiny, store, BY_NAME["finetune"], needed).key
    left = store.root / "checkpoints" / str(key) / "training.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"cut off")

    with pytest.raises(StepFailed):
        perform(tiny, store, "finetune", needed)
    assert f"the checkpoint {left} is damaged" in capfd.readouterr().err
    left.unlink()
    assert perform(tiny, store, "finetune", needed).action == "run"
    assert store.blobs.list("checkpoints/") == []


ENDED = """
import subprocess, sys, time
from pipelines.runner import _end, die_with_parent
nested = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).wait()"
child = subprocess.Popen([sys.executable, "-c", nested], start_new_session=True, preexec_fn=die_with_parent)
time.sleep(1.0)
print(child.pid, flush=True)
_end(child)
"""


def test_ending_a_step_ends_everything_it_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDED], capture_output=True, text=True, cwd=ROOT, timeout=30, check=True
    )
    until = time.monotonic() + 10  # init takes its time to bury what it inherits.
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(int(done.stdout), 0)
            time.sleep(0.1)


def test_a_kill_by_the_kernel_is_told_by_its_signal() -> None:
    assert str(StepFailed("finetune", -9)) == "finetune was killed by SIGKILL"
    assert str(StepFailed("finetune", 1)) == "finetune crashed (exit code 1)"
