"""One step through the runner: run, found again, made again when damaged, refused."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from components.interchange.cli import terminated_by_exception
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput
from pipelines import runner
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


def test_a_source_that_grew_is_read_where_it_is_new(request_: Request, tiny_source: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_source, tmp_path / "source"))
    for file in source.rglob("*"):
        os.utime(file, (1, 1))
    values = request_.values | {"ingest": request_.values["ingest"] | {"source": str(source)}}
    ours, store = dataclasses.replace(request_, values=values), open_store(request_.store)
    perform(ours, store, "ingest", {})
    Image.new("RGB", (40, 40), "red").save(source / "red" / "new.png")
    assert plan(ours, store)[0].why == "changed: source"
    grown = store.artifact(perform(ours, store, "ingest", {}).outputs["dataset"])
    facts = json.loads((grown / "run.json").read_text())
    assert (facts["files_read"], facts["files_known"]) == (1, 90)
    forced = dataclasses.replace(ours, force=("ingest",))
    assert store.artifact(perform(forced, store, "ingest", {}).outputs["dataset"]) == grown
    elsewhere = dataclasses.replace(ours, store=str(tmp_path / "elsewhere"))
    fresh = perform(elsewhere, open_store(elsewhere.store), "ingest", {}).outputs["dataset"]
    assert fresh == grown.name


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
    assert str(failure.value).startswith(f"ingest refused its input: {tmp_path}/one class has one class (only)")
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


SAVES = """
import pathlib, signal, sys, time
def save(signum, frame):
    time.sleep(float(sys.argv[2]))
    pathlib.Path(sys.argv[1]).write_text("saved")
    raise SystemExit(143)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(600)
"""


def ended_while_it_saves(path: Path, seconds: float) -> "subprocess.Popen[bytes]":
    """A step that takes so long to save its work on SIGTERM, ended."""
    command = [sys.executable, "-c", SAVES, str(path), str(seconds)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        runner._end(child)
    return child


def test_a_step_has_time_to_save_its_work_as_long_as_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended_while_it_saves(tmp_path / "a", 2.2).returncode == 143
    assert (tmp_path / "a").read_text() == "saved"
    monkeypatch.setenv("GRAFT_GRACE_S", "0.3")
    assert ended_while_it_saves(tmp_path / "b", 600).returncode == -signal.SIGKILL
    monkeypatch.setenv("GRAFT_GRACE_S", "soon")
    with pytest.raises(BadInput, match="GRAFT_GRACE_S='soon': expected seconds"):
        runner.grace_s()


def test_a_second_sigterm_takes_no_time_away(tmp_path: Path) -> None:
    """Under systemd a run of `graft serve` hears of its end from two, and so does a step."""

    def prefects(signum: int, frame: object) -> None:
        raise AssertionError("its handler ends the waiting")

    before = signal.signal(signal.SIGTERM, prefects)
    again = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    again.start()
    try:
        assert ended_while_it_saves(tmp_path / "a", 0.6).returncode == 143
    finally:
        again.join()
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "a").read_text() == "saved"

    saved = False
    with pytest.raises(SystemExit), terminated_by_exception():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            saved = True
    assert saved and signal.getsignal(signal.SIGTERM) == before


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs ignore it.
    interrupt = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            ended_while_it_saves(tmp_path / "a", 600)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 10 and not (tmp_path / "a").exists()


def test_what_the_kernel_kills_is_tried_again_after_a_wait_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "MEMORY_WAITS_S", (0.0, 0.0, 0.0))
    tries = tmp_path / "tries"

    def tried(ends: str) -> int:
        """A process that notes that it ran, and ends so."""
        tries.write_text("")
        noted = f"import os; open({str(tries)!r}, 'a').write('x'); {ends}"
        step = dataclasses.replace(BY_NAME["ingest"], retries=2)
        return runner._persistently(step, lambda: runner.exit_code_of([sys.executable, "-c", noted]))

    assert tried("os.kill(os.getpid(), 9)") == -signal.SIGKILL and tries.read_text() == "xxx"
    assert "was killed, most likely for want of memory" in caplog.text
    assert tried(f"len(open({str(tries)!r}).read()) < 2 and os.kill(os.getpid(), 9)") == 0 and tries.read_text() == "xx"
    assert tried("raise SystemExit(2)") == 2 and tries.read_text() == "x"


def test_a_kill_by_the_kernel_is_told_by_its_signal() -> None:
    assert str(StepFailed("finetune", -9)).startswith("finetune was killed by SIGKILL, most likely for want of")
    assert str(StepFailed("finetune", -11)) == "finetune was killed by SIGSEGV"
    assert str(StepFailed("finetune", 1)) == "finetune crashed (exit code 1)"


def test_a_step_imports_nothing_from_the_folder_that_we_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout of somebody's images may hold a `pydantic.py`, or `components` of its own."""
    for name in ("components", "planted"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    code = "import components, importlib.util as u; raise SystemExit(7 if u.find_spec('planted') else 3)"
    (tmp_path / "run.py").write_text(code)
    assert runner.exit_code_of([sys.executable, "-m", "run"]) == 1  # No module of that name.
    assert runner.exit_code_of([sys.executable, "-c", code]) == 3
