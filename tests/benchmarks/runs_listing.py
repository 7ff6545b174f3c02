"""10,000 runs in a store: `graft runs --limit 0 --json`, a process of its own, against the second that is allowed."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.duel import Target, report

RUNS, ALLOWED_S = 10_000, 1.0
SUMMARY = {
    "model_name": "parts",
    "verdict": "keep",
    "reasons": ["top1_difference +0.0021 [-0.0102, +0.0144] is not clearly above zero (401 test images, paired)"],
    "selected": "finetune",
    "test": {"baseline_top1": 0.81, "candidate_top1": 0.93, "n": 401},
    "latency": {"p50_ms": 7.0, "p99_ms": 9.0, "n": 1000},
    "seconds": {"total": 61.25},
}


def main() -> bool:
    """The listing that reads every summary is told beside those that find the index."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(RUNS):
            run = Path(folder) / "runs" / f"20260101-{number:06d}-aaaa"
            run.mkdir(parents=True)
            (run / "summary.json").write_text(json.dumps({"run_id": run.name, **SUMMARY}))
        command = [sys.executable, "-m", "pipelines.cli", "runs", "--store", folder, "--limit", "0", "--json"]

        def listed() -> float:
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - started
            assert len(json.loads(done.stdout)) == RUNS
            return seconds

        first_s = listed()
        ours = [listed() for _ in range(5)]
    allowed = [ALLOWED_S] * len(ours)
    return report(
        "runs_listing", ours, allowed, "the second allowed", "s", Target("<=", 1.0), first_s=round(first_s, 3)
    )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
