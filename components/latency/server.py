"""A process as a server starts: it loads the model, answers once, warms up and is timed. It imports no more than that.

Reads an `Order` as JSON from standard input, writes what it found as one JSON line.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Order:
    """What a process is told: the model, how to serve it, a file of images [N, H, W, 3], which runs are timed."""

    folder: str
    provider: str
    num_threads: int
    images: str
    max_warmup_runs: int
    runs: list[int]


def obey(order: Order) -> dict[str, Any]:
    """Figures of the cold start, when it had answered (seconds since the epoch), the warm-up and every timed run."""
    import numpy as np

    from components.interchange.onnx_model import answer, as_input, logits_of
    from components.latency.measure import time_runs, warm_up
    from components.latency.pressure import watched
    from components.latency.session import open_session

    clock = time.perf_counter
    started, folder = clock(), Path(order.folder)
    session, card = open_session(folder, order.provider, order.num_threads, hashed=False)  # As servers do.
    loaded, crop_px = clock(), card.preprocessing.crop_px
    logits_of(session, np.zeros((1, crop_px, crop_px, 3), np.uint8))
    answered, answered_at, peak_rss_bytes = clock(), time.time(), _peak_rss_bytes()
    images = [as_input(pixels_HWC[None], card.input) for pixels_HWC in np.load(order.images)]

    def one(run: int) -> object:
        return answer(session, images[run % len(images)])

    warm = warm_up(one, clock, order.max_warmup_runs)
    with watched() as waiting:
        samples_ms = time_runs(one, clock, order.runs)
    return {
        "load_ms": (loaded - started) * 1000,
        "first_answer_ms": (answered - loaded) * 1000,
        "peak_rss_bytes": peak_rss_bytes,
        "answered_at": answered_at,
        "warmup": asdict(warm),
        "samples_ms": samples_ms.tolist(),
        "waiting": waiting.share,
    }


def _peak_rss_bytes() -> int:
    status = STATUS.read_text() if STATUS.is_file() else ""
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    print(json.dumps(obey(Order(**json.load(sys.stdin)))))
