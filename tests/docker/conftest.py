"""What the proofs in containers share: images, and places that their user may write to."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.interchange.artifact import digest
from pipelines.steps import SHARDED_STEPS
from pipelines.steps import STEPS as STEPS_OF_A_RUN
from tests.conftest import TINY_BACKBONE, TINY_INPUT_PX
from tests.docker.closed_store import ClosedStore, running

ROOT = Path(__file__).parents[2]
PREFIX = os.environ.get("GRAFT_IMAGE_PREFIX", "graft-test-")
TAG = os.environ.get("GRAFT_IMAGE_TAG", "")
USER = 1000
WEIGHTS = "weights.safetensors"
BUDGETS = {"max_p99_ms": 10000.0, "min_top1": 0.0, "min_gain": -1.0}  # kfp's local runner needs every parameter.
STEPS = {step.name for step in (*STEPS_OF_A_RUN, *SHARDED_STEPS)}
THREADS = {"OMP_NUM_THREADS": "1"}  # As on this side: sums of floats depend on it.


def docker(*words: object, check: bool = True) -> str:
    """What `docker` prints; with `check` it has to end well."""
    done = subprocess.run(["docker", *(str(word) for word in words)], capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def settings_of_the_run(weights: str, weights_sha256: str) -> list[str]:
    """--set for a tiny backbone; `weights` are a file or an s3:// URI."""
    shared = {
        "ingest.stored-size-px": 40,
        "finetune.num-epochs": 2,
        "finetune.base-lr": 5e-3,
        "evaluate.bootstrap-samples": 500,
        "export_onnx.parity-samples": 16,
        "latency.timed-runs": 1000,
        "latency.max-warmup-runs": 60,
        "latency.throughput-s": 0.1,
    }
    for step in ("feature_extraction", "finetune"):
        shared |= {f"{step}.weights": weights, f"{step}.weights-sha256": weights_sha256}
        shared[f"{step}.input-size-px"] = TINY_INPUT_PX
    sets = [word for key, value in shared.items() for word in ("--set", f"{key}={value}")]
    return ["--backbone", TINY_BACKBONE, *sets]


@dataclass(frozen=True)
class Ended:
    """How a run on Kubeflow's local runner ended; `root` is its pipeline root."""

    code: int
    out: str
    root: Path

    def artifacts(self) -> list[tuple[str, Path]]:
        """`step.port` and place of every artifact that the run left in its pipeline root, those of every share too."""
        return [
            (f"{place.parent.name.replace('-', '_')}.{place.name}", place)
            for place in sorted(self.root.glob("graft-*/**/*"))
            if place.parent.name.replace("-", "_") in STEPS and place.is_dir() and any(place.iterdir())
        ]

    def digests(self) -> dict[str, str]:
        """Digest of every artifact, by `step.port`; of a step that ran more than once, that of the last."""
        return {name: digest(place) for name, place in self.artifacts()}


RunPipeline = Callable[..., Ended]


def graft(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `graft` and wait for it."""
    command = [sys.executable, "-m", "pipelines.cli", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})


@pytest.fixture(scope="session")
def weights_sha256(tiny_weights: Path) -> str:
    return hashlib.sha256(tiny_weights.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_source: Path, tiny_weights: Path) -> Path:
    """A folder of the containers' user with `source` and weights in it; the pipeline roots of the runs lie in it."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(tiny_source, folder / "source")
    shutil.copy(tiny_weights, folder / WEIGHTS)
    given_away(folder)
    for parent in [folder, *folder.parents]:
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    (folder / WEIGHTS).chmod(0o644)
    return folder


def given_away(folder: Path) -> None:
    """Make a folder, and all that is in it, the containers' user's."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, USER, 0)


@pytest.fixture(scope="session")
def closed_store(place: Path) -> Iterator[ClosedStore]:
    """A real SeaweedFS in a container on a network without a way out, with source and weights in its bucket."""
    with running(f"{PREFIX}control:{TAG}", docker) as store:
        store.fill(place / "source", place / WEIGHTS)
        yield store


@dataclass(frozen=True)
class Compiled:
    """A pipeline that was compiled, and run by kfp's DockerRunner in `run`."""

    yaml: Path
    root: Path

    def change(self, task: str, *command: str, keep_arguments: bool = False) -> None:
        """Let a task of the pipeline run another command, without its arguments unless they are kept."""
        spec, platform = yaml.safe_load_all(self.yaml.read_text())
        container = spec["deploymentSpec"]["executors"][f"exec-{task}"]["container"]
        container["command"] = list(command)
        if not keep_arguments:
            container["args"] = []
        self.yaml.write_text(yaml.safe_dump_all([spec, platform]))

    def run(self, parameters: dict[str, Any], settings: dict[str, Any]) -> Ended:
        """`settings` are docker's; the user is that of the images."""
        folder = self.yaml.parent
        given = {"user": f"{USER}:0", **settings}
        (folder / "parameters.json").write_text(json.dumps({"model_name": "tiny", "seed": 0, **BUDGETS, **parameters}))
        (folder / "settings.json").write_text(json.dumps(given))
        command = [sys.executable, "-m", "tests.docker.kfp_local", self.yaml, self.root]
        command += [folder / "parameters.json", folder / "settings.json"]
        # kfp's runner keeps the pipeline root for this user; the containers write as theirs.
        umask = os.umask(0o000)
        try:
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
        finally:
            os.umask(umask)
        return Ended(done.returncode, done.stdout + done.stderr, self.root)


Compile = Callable[..., Compiled]


@pytest.fixture
def compile_pipeline(place: Path, tmp_path_factory: pytest.TempPathFactory, weights_sha256: str) -> Compile:
    """`compile_pipeline(name, weights, *words)`: compiled for these images, its pipeline root a folder of that name."""

    def compiled(name: str, weights: str, *words: object) -> Compiled:
        written = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
        done = graft(
            *("compile", "--output", written, "--image-prefix", PREFIX, "--image-tag", TAG),
            *settings_of_the_run(weights, weights_sha256),
            *words,
        )
        assert done.returncode == 0, done.stderr
        (place / name).mkdir()
        os.chown(place / name, USER, 0)
        return Compiled(written, place / name)

    return compiled
