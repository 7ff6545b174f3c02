"""A cold start: a fresh process loads the model and answers once. Prints one JSON line; what memory that took, too."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def cold_start(folder: Path, provider: str, num_threads: int) -> dict[str, float]:
    """Run a fresh process: `load_ms`, `first_answer_ms`, `process_ms` (interpreter and imports too), `peak_rss_bytes`.

    `peak_rss_bytes` is 0 where the system does not tell (outside Linux).
    """
    command = [sys.executable, "-m", __spec__.name, str(folder), provider, str(num_threads)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a cold start failed: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "process_ms": (time.perf_counter() - started) * 1000}


def _answer_once(folder: Path, provider: str, num_threads: int) -> dict[str, Any]:
    import numpy as np

    from components.interchange.onnx_model import logits_of
    from components.latency.session import open_session

    started = time.perf_counter()
    session, card = open_session(folder, provider, num_threads, hashed=False)  # A server does not hash; the step has.
    loaded = time.perf_counter()
    logits_of(session, np.zeros((1, card.preprocessing.crop_px, card.preprocessing.crop_px, 3), np.uint8))
    answered = time.perf_counter()
    status = STATUS.read_text() if STATUS.is_file() else ""
    peak_kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
    return {
        "load_ms": (loaded - started) * 1000,
        "first_answer_ms": (answered - loaded) * 1000,
        "peak_rss_bytes": peak_kib * 1024,
    }


if __name__ == "__main__":
    print(json.dumps(_answer_once(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
