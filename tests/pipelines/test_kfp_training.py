"""The training of the compiled pipeline as a pod with two GPUs would run it, by torchrun, and killed half-way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.interchange.cards import read_classifier_card
from components.interchange.report import read_report
from tests.conftest import TINY_BACKBONE, TINY_INPUT_PX
from tests.pipelines.launcher import Launcher

pytestmark = pytest.mark.slow
PROCESSES = 2


@pytest.fixture
def spec(tiny_weights: Path, tmp_path: Path) -> dict[str, Any]:
    """A pipeline whose finetune has two GPUs; the one word that is changed for a machine without is `cuda`."""
    sets = {"weights": tiny_weights, "input-size-px": TINY_INPUT_PX, "batch-size": 6, "num-epochs": 12}
    sets |= {"patience": 12, "checkpoint-every-s": 0.05, "base-lr": 5e-3}
    words = ["compile", "--output", tmp_path / "pipeline.yaml", "--image-prefix", "r/graft-", "--image-tag", "1"]
    words += ["--backbone", TINY_BACKBONE, "--strategy", "finetune", "--gpu", f"nvidia.com/gpu={PROCESSES}"]
    words += [word for key, value in sets.items() for word in ("--set", f"finetune.{key}={value}")]
    subprocess.run([sys.executable, "-m", "pipelines.cli", *(str(word) for word in words)], check=True)
    spec: dict[str, Any] = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    arguments = spec["deploymentSpec"]["executors"]["exec-finetune"]["container"]["args"]
    arguments[arguments.index("cuda")] = "cpu"
    return spec


def pod(spec: dict[str, Any], dataset: Path, store: Path, root: Path) -> tuple[list[str], dict[str, Any]]:
    """finetune's command in a new pod, and what is asked of it."""
    launcher = Launcher(spec, {"source": "", "store": str(store)}, root)
    context = {"store": str(store), "model_name": "tiny", "run_id": launcher.run_id, "seed": 0}
    inside = {"parameters": context, "artifacts": {"dataset": {"artifacts": [{"uri": str(dataset)}]}}}
    return launcher.command("finetune", spec["components"]["comp-finetune"], inside)


def family(pid: int) -> list[int]:
    """A process and everything that it has started: what ends with a pod."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def test_a_pod_that_is_killed_goes_on_in_the_next(spec: dict[str, Any], tiny_dataset: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command, _ = pod(spec, tiny_dataset, store, tmp_path / "first")
    assert command[1:3] == ["--standalone", f"--nproc-per-node={PROCESSES}"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as killed:
        until = time.monotonic() + 300
        checkpoints = store / "checkpoints"
        while not any(checkpoints.rglob("training.safetensors")) and killed.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        processes = family(killed.pid)
        for process in processes:
            os.kill(process, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL and len(processes) > PROCESSES
    assert not (tmp_path / "first" / "finetune" / "classifier").exists()

    command, asked = pod(spec, tiny_dataset, store, tmp_path / "second")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "resumed=" in done.stderr and f"processes={PROCESSES}" in done.stderr
    folder = tmp_path / "second" / "finetune"
    written = json.loads(Path(asked["outputs"]["outputFile"]).read_text())["artifacts"]
    assert written.keys() == {"classifier", "report", "metrics"}
    history = read_classifier_card(folder / "classifier").history
    assert len(history) == 12 and history[-1]["val_top1"] > 0.8
    assert read_report(folder / "report").rows
