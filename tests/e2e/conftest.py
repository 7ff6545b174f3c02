"""The `graft` command as a user runs it: a process of its own, its exit code, what it printed."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.interchange.blobs import open_blobs
from tests import warm
from tests.conftest import TINY_BACKBONE, TINY_INPUT_PX

GRAFT = str(Path(sys.executable).with_name("graft"))


@dataclass(frozen=True)
class Ended:
    """How a command ended. `summary` is the JSON object that it printed, and nothing else."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads(self.out))

    @property
    def ran(self) -> set[str]:
        """The steps that ran: those that took time."""
        return {name for name, seconds in self.summary["seconds"].items() if seconds > 0 and name != "total"}

    def steps(self, store: Path | str) -> dict[str, Any]:
        """What became of each step of the run."""
        record = open_blobs(str(store)).get(f"runs/{self.summary['run_id']}/steps.json")
        return dict(json.loads(record or b"{}")["steps"])

    def made(self, store: Path | str) -> dict[str, str]:
        """Digest of every artifact of the run as `step.port`."""
        steps = self.steps(store)
        return {f"{name}.{port}": digest for name, step in steps.items() for port, digest in step["outputs"].items()}


def graft(*words: object) -> Ended:
    """Run `graft` and wait for it; its imports are there already."""
    done = warm.run("pipelines.cli", *words)
    return Ended(done.returncode, done.stdout, done.stderr)


def cold_graft(*words: object) -> Ended:
    """Run `graft` as users do, from its first import on, and wait for it."""
    command = [GRAFT, *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    return Ended(done.returncode, done.stdout, done.stderr)


Run = Callable[..., Ended]
Words = Callable[..., list[str]]


@pytest.fixture(scope="session")
def tiny_words(tiny_weights: Path) -> Words:
    """The arguments of `tiny_run`."""
    shared = {
        "ingest.stored-size-px": 40,
        "feature_extraction.weights": tiny_weights,
        "feature_extraction.input-size-px": TINY_INPUT_PX,
        "evaluate.bootstrap-samples": 500,
        "export_onnx.parity-samples": 16,
        "latency.timed-runs": 200,
        "latency.max-warmup-runs": 100,
        "latency.throughput-s": 0.1,
        "latency.processes": 1,
        "latency.end-to-end-runs": 5,
        "latency.concurrency": 2,
    }
    finetune = {"weights": tiny_weights, "input-size-px": TINY_INPUT_PX, "num-epochs": 3, "base-lr": 5e-3}

    def run(source: Path, store: Path | str, *more: object, engine: str = "none", runner: str = "inline") -> list[str]:
        words: list[object] = ["run", "--source", source, "--store", store, "--backbone", TINY_BACKBONE, "--json"]
        words += ["--model-name", "tiny", "--engine", engine, "--runner", runner]
        left_out = "--strategy" in more and "feature_extraction" in more
        values = shared | ({} if left_out else {f"finetune.{key}": value for key, value in finetune.items()})
        words += [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        return [str(word) for word in [*words, *more]]

    return run


@pytest.fixture(scope="session")
def tiny_run(tiny_words: Words) -> Run:
    """`graft run --json` with the tiny backbone: `tiny_run(source, store, *more, engine=…, runner=…)`."""
    return lambda *arguments, **how: graft(*tiny_words(*arguments, **how))
