"""How fast each backbone is on this machine, as the ONNX model that would be served, one image at a time.

Weights are random and the head has ten classes: neither decides the speed. Export and timing are processes of their own
(`python -m pipelines.backbone_latency export BACKBONE FILE`, `… time FILE RESULT SECONDS`); torch is loaded in the
first alone. Several processes time, as one may be slower than the next for as long as it lives. What was measured on a
quiet machine is remembered by processor, threads, provider and versions.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines import fingerprints
from pipelines.runner import StepFailed, exit_code_of
from pipelines.shelf import user_cache

OPSET = 17
NUM_CLASSES = 10
SECONDS = 8.0
NUM_PROCESSES = 5
MAX_WARMUP_RUNS = 100


class Measured(BaseModel):
    """p50 and p99 in milliseconds, over so many runs; `low` and `high` bound p99, None where the runs are too few.

    `disturbed` says whether other work on the machine took cores meanwhile.
    """

    model_config = ConfigDict(frozen=True)

    backbone: str
    p50_ms: float
    p99_ms: float
    low: float | None
    high: float | None
    runs: int
    when: str
    disturbed: bool


Measure = Callable[[str], Measured]


def latencies(backbones: Iterable[str], measure: Measure, cache: Path) -> dict[str, Measured]:
    """By backbone; measured now where `cache` does not know it of this machine."""
    files = {backbone: cache / f"{_key(backbone)}.json" for backbone in backbones}
    known = {backbone: found for backbone, file in files.items() if (found := _remembered(file)) is not None}
    lacking = [backbone for backbone in files if backbone not in known]
    if lacking:
        _tell(
            f"{len(lacking)} of {len(files)} backbones are to be measured here, once: each is exported, which takes "
            f"the longer the larger it is, and timed for {SECONDS:g} s in {NUM_PROCESSES} processes"
        )
    for number, backbone in enumerate(lacking, 1):
        started = time.monotonic()
        known[backbone] = measure(backbone)
        if not known[backbone].disturbed:
            _remember(known[backbone], files[backbone])
        _tell(f"measured {backbone}, {number} of {len(lacking)}, in {time.monotonic() - started:.0f} s")
    return {backbone: known[backbone] for backbone in files}


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def default_cache() -> Path:
    """Where measurements are remembered."""
    return user_cache() / "latency"


def measured(backbone: str, seconds: float = SECONDS, exit_code: Callable[[list[str]], int] = exit_code_of) -> Measured:
    """Export and time a backbone; StepFailed where one of the two processes fails, which has said why.

    `exit_code` runs a command in a process of its own.
    """
    with TemporaryDirectory(prefix="graft-latency-") as folder:
        model, results = Path(folder, "model.onnx"), [Path(folder, f"{k}.json") for k in range(NUM_PROCESSES)]
        each = str(seconds / NUM_PROCESSES)
        for arguments in (["export", backbone, str(model)], *(["time", str(model), str(r), each] for r in results)):
            code = exit_code([sys.executable, "-m", "pipelines.backbone_latency", *arguments])
            if code != 0:
                raise StepFailed(f"measuring {backbone} ({arguments[0]})", code)
        return _together(backbone, [json.loads(result.read_text(encoding="utf-8")) for result in results])


def _together(backbone: str, processes: Sequence[dict[str, Any]]) -> Measured:
    """Every process counts alike: with as many runs as the slowest of them made in its time."""
    import numpy as np

    from components.interchange.report import CONFIDENCE
    from components.latency.intervals import percentile
    from components.latency.judge import MOST_WAITING

    fewest = min(len(process["samples_ms"]) for process in processes)
    samples_ms = np.concatenate([process["samples_ms"][:fewest] for process in processes])
    p50, p99 = (percentile(samples_ms, percent, CONFIDENCE, len(processes)) for percent in (50, 99))
    return Measured(
        backbone=backbone,
        p50_ms=p50.value,
        p99_ms=p99.value,
        low=p99.low,
        high=p99.high,
        runs=len(samples_ms),
        when=time.strftime("%Y-%m-%d %H:%M"),
        disturbed=float(np.mean([process["waiting"] or 0.0 for process in processes])) > MOST_WAITING,
    )


def _key(backbone: str) -> str:
    parts = {
        "backbone": backbone,
        "processor": fingerprints.processor(),
        "threads": fingerprints.num_threads(None),
        "provider": fingerprints.provider("auto"),
        "versions": {**fingerprints.versions_of("export"), **fingerprints.versions_of("latency")},
        "opset": OPSET,
        "processes": NUM_PROCESSES,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _remembered(file: Path) -> Measured | None:
    try:
        return Measured.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):  # What is damaged is measured again.
        return None


def _remember(found: Measured, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(found.model_dump_json(), encoding="utf-8")
    fresh.replace(file)


def export(backbone: str, file: Path) -> None:
    """Write the backbone as an ONNX model, as export_onnx would, with random weights."""
    import onnx
    import timm

    from components.export_onnx.export import to_onnx
    from components.interchange.pixels_to_logits import PixelsToLogits
    from components.interchange.preprocessing import Preprocessing

    model = timm.create_model(backbone, num_classes=NUM_CLASSES)
    config = model.pretrained_cfg
    crop_px = int(config["input_size"][-1])
    preprocessing = Preprocessing(
        resize_short_px=crop_px,
        interpolation="bicubic",
        crop_px=crop_px,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    onnx.save(to_onnx(PixelsToLogits(model, preprocessing), crop_px, OPSET, {}), file)


def time_model(file: Path, result: Path, seconds: float) -> None:
    """Time one image a run, warm, on every core, and write every sample to `result` as JSON."""
    import numpy as np
    import onnxruntime as ort

    from components.interchange.cores import num_cores
    from components.interchange.onnx_model import answer
    from components.interchange.providers import with_fallback
    from components.latency.measure import time_for, warm_up
    from components.latency.pressure import watched
    from components.latency.session import choose_provider, session_options

    providers = with_fallback(choose_provider("auto"))
    session = ort.InferenceSession(str(file), session_options(num_cores()), providers)
    crop_px = session.get_inputs()[0].shape[1]
    image_NHWC = np.random.default_rng(0).integers(0, 256, (1, crop_px, crop_px, 3), np.uint8)

    def call(run: int) -> object:
        return answer(session, image_NHWC)

    warm_up(call, time.perf_counter, MAX_WARMUP_RUNS)
    with watched() as waiting:
        samples_ms = time_for(call, time.perf_counter, seconds)
    result.write_text(json.dumps({"samples_ms": samples_ms.tolist(), "waiting": waiting.share}), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(sys.argv[2], Path(sys.argv[3]))
    else:
        time_model(Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
