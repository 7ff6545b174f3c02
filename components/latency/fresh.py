"""Runs in fresh processes, one process after the other.

Where its memory comes to lie makes a process slower or faster than the next, by a percent or so, for as long as it
lives. Runs of a single process would not show by how much two measurements differ.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.latency import server
from components.latency.measure import WarmUp
from components.latency.served import Served


class Fresh(NamedTuple):
    """What one process gave.

    `cold`: `load_ms`, `first_answer_ms`, `process_ms` (interpreter and imports too) and `peak_rss_bytes` up to the
    first answer, 0 where the system does not tell (outside Linux). `waiting`: as of `judge.Noise`.
    """

    cold: dict[str, float]
    warm: WarmUp
    samples_ms: list[float]
    waiting: float | None


class Together(NamedTuple):
    """All processes: figures of each one's cold start, warm-up runs in all, every timed run in order."""

    cold: list[dict[str, float]]
    warm: WarmUp
    samples_ms: NDArray[np.float64]
    waiting: float | None


def fresh_processes(served: Served, num_processes: int, num_runs: int, max_warmup_runs: int) -> Iterator[Fresh]:
    """Share the runs out among the processes as `np.array_split` does; each image is asked about in its turn."""
    with TemporaryDirectory(prefix="graft-latency-") as work:
        images = str(Path(work, "images.npy"))
        np.save(images, served.pixels_NHWC)
        for runs in np.array_split(np.arange(num_runs), num_processes):
            place = (str(served.folder), served.provider, served.num_threads)
            yield _run(server.Order(*place, images, max_warmup_runs, runs.tolist()))


def together(processes: Sequence[Fresh]) -> Together:
    """The warm-up has settled where it has in each; `waiting` is the mean, None where one process did not know."""
    shares = [each.waiting for each in processes if each.waiting is not None]
    return Together(
        [each.cold for each in processes],
        WarmUp(sum(each.warm.runs for each in processes), all(each.warm.settled for each in processes)),
        np.concatenate([each.samples_ms for each in processes]),
        float(np.mean(shares)) if len(shares) == len(processes) else None,
    )


def _run(order: server.Order) -> Fresh:
    command, started = [sys.executable, "-m", server.__name__], time.time()
    done = subprocess.run(command, input=json.dumps(asdict(order)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a process that serves the model ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    cold = {name: found[name] for name in ("load_ms", "first_answer_ms", "peak_rss_bytes")}
    cold["process_ms"] = (found["answered_at"] - started) * 1000
    return Fresh(cold, WarmUp(**found["warmup"]), found["samples_ms"], found["waiting"])
