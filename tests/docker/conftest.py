"""What the proofs in containers share: images, and a place that their user may write to."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY_BACKBONE, TINY_INPUT_PX

ROOT = Path(__file__).parents[2]
PREFIX = os.environ.get("GRAFT_IMAGE_PREFIX", "graft-test-")
TAG = os.environ.get("GRAFT_IMAGE_TAG", "")
USER = 1000
BUDGETS = {"max_p99_ms": 10000.0, "min_top1": 0.0, "min_gain": -1.0}  # kfp's local runner needs every parameter.


def docker(*words: object, check: bool = True) -> str:
    done = subprocess.run(["docker", *(str(word) for word in words)], capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def settings_of_the_run(weights: Path) -> list[str]:
    """--set for a tiny backbone; weights are a file."""
    shared = {
        "ingest.stored-size-px": 40,
        "feature_extraction.weights": weights,
        "feature_extraction.input-size-px": TINY_INPUT_PX,
        "finetune.weights": weights,
        "finetune.input-size-px": TINY_INPUT_PX,
        "finetune.num-epochs": 2,
        "finetune.base-lr": 5e-3,
        "evaluate.bootstrap-samples": 500,
        "export_onnx.parity-samples": 16,
        "latency.timed-runs": 500,
        "latency.max-warmup-runs": 60,
        "latency.throughput-s": 0.1,
    }
    return [
        "--backbone",
        TINY_BACKBONE,
        *(word for key, value in shared.items() for word in ("--set", f"{key}={value}")),
    ]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    root: Path


RunPipeline = Callable[..., Ended]


def graft(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_source: Path, tiny_weights: Path) -> Path:
    """A folder of the containers' user with source and weights in it."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(tiny_source, folder / "source")
    shutil.copy(tiny_weights, folder / "weights.safetensors")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, USER, 0)
    for parent in folder.parents:
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    return folder


@pytest.fixture
def run_pipeline(place: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPipeline:
    """Compile and run the pipeline through kfp's DockerRunner: `run_pipeline(name, parameters, settings, *compile)`."""

    def run(name: str, parameters: dict[str, Any], settings: dict[str, Any], *words: object) -> Ended:
        folder = tmp_path_factory.mktemp("compiled")
        compiled = graft(
            *("compile", "--output", folder / "pipeline.yaml", "--image-prefix", PREFIX, "--image-tag", TAG),
            *settings_of_the_run(place / "weights.safetensors"),
            *words,
        )
        assert compiled.returncode == 0, compiled.stderr
        given = {"user": f"{USER}:0", **settings}
        (folder / "parameters.json").write_text(json.dumps({"model_name": "tiny", "seed": 0, **BUDGETS, **parameters}))
        (folder / "settings.json").write_text(json.dumps(given))
        root = place / name
        root.mkdir(exist_ok=True)
        os.chown(root, USER, 0)
        command = [sys.executable, "-m", "tests.docker.kfp_local", folder / "pipeline.yaml", root]
        command += [folder / "parameters.json", folder / "settings.json"]
        # kfp's runner keeps the pipeline root for this user; the containers write as theirs.
        umask = os.umask(0o000)
        try:
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
        finally:
            os.umask(umask)
        return Ended(done.returncode, done.stdout + done.stderr, root)

    return run
