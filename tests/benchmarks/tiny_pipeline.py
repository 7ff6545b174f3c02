"""The whole pipeline on tiny images with a tiny backbone, for benchmarks of what surrounds the steps."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.conftest import TINY_BACKBONE, write_source

Run = Callable[..., "Ended"]


class Ended(NamedTuple):
    """A run of the command: its seconds from start to end, those of its steps, and how many of them ran."""

    verdict: str
    seconds: float
    steps_s: float
    steps: int

    @property
    def overhead_s(self) -> float:
        return self.seconds - self.steps_s


@contextmanager
def pipeline() -> Iterator[Run]:
    """`run(engine, *more)` runs it on one store."""
    import timm
    import torch
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        save_file(timm.create_model(TINY_BACKBONE, num_classes=10).state_dict(), folder / "tiny.safetensors")
        source = write_source(folder / "source", 30)
        steps = {step: {"weights": folder / "tiny.safetensors", "input-size-px": 32} for step in TRAININGS}
        values = {"ingest": {"stored-size-px": 40}, "latency": {"timed-runs": 200, "throughput-s": 0.1}, **steps}
        sets = [f"{step}.{key}={value}" for step, given in values.items() for key, value in given.items()]
        words = ["--source", str(source), "--store", str(folder / "store"), "--backbone", TINY_BACKBONE, "--json"]
        words += [word for value in sets for word in ("--set", value)]

        def run(engine: str, *more: str) -> Ended:
            command = [sys.executable, "-m", "pipelines.cli", "run", *words, "--engine", engine, *more]
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True)
            seconds = time.perf_counter() - started
            if done.returncode:
                raise RuntimeError(done.stderr[-2000:])
            summary = json.loads(done.stdout.splitlines()[-1])
            spent = [value for name, value in summary["seconds"].items() if name != "total" and value > 0]
            return Ended(summary["verdict"], seconds, sum(spent), len(spent))

        yield run


TRAININGS = ("feature_extraction", "finetune")
