"""Measure the model as a server would run it: open, warm up, time single images, then larger batches, report."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from components.interchange.cli import log
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput
from components.interchange.onnx_model import logits_of
from components.interchange.progress import progress
from components.interchange.report import CONFIDENCE, Row, write_report
from components.interchange.step import RunContext
from components.latency.measure import Estimate, percentile, throughput, time_for, time_runs, warm_up
from components.latency.session import available_cores, machine, open_session
from components.latency.spec import Latency

PERCENTILES = (50, 90, 99)
MAX_IMAGES = 256


def run(spec: Latency, context: RunContext) -> dict[str, object]:
    num_threads = spec.num_threads or available_cores()
    session, card, provider = open_session(spec.onnx_model, spec.device, num_threads)
    log.info("step=latency provider=%s num_threads=%d", provider, num_threads)
    pixels_NHWC = _test_images(spec, card.preprocessing.crop_px)

    def answer(batch: int) -> Callable[[int], object]:
        batches = _batches(pixels_NHWC, batch)
        return lambda run: logits_of(session, batches[run % len(batches)])

    one = answer(1)
    warm = warm_up(one, time.perf_counter, spec.max_warmup_runs)
    log.info("warmup_runs=%d settled=%s", warm.runs, warm.settled)
    runs = progress(range(spec.timed_runs), "latency at batch 1", total=spec.timed_runs, unit=" runs")
    samples_ms = time_runs(one, time.perf_counter, runs)
    rows = [_percentile_row(samples_ms, percent) for percent in PERCENTILES]
    batch_ms = {}
    for batch in progress(spec.throughput_batches, "throughput", unit=" batch sizes"):
        call = answer(batch)
        call(0)  # The first run of a new size allocates.
        batch_ms[batch] = time_for(call, time.perf_counter, spec.throughput_s)
        estimate = throughput(batch_ms[batch], batch, CONFIDENCE)
        rows.append(_row("images_per_s", estimate, "images/s", batch, len(batch_ms[batch])))
    for row in rows:
        log.info("%s=%.2f of=%s n=%s", row.name, row.value, row.of, row.n)
    details = {
        "provider": provider,
        "num_threads": num_threads,
        "graph_optimisation": "all",
        "warmup_runs": warm.runs,
        "warmup_settled": warm.settled,
        "timed_runs": spec.timed_runs,
        "images": len(pixels_NHWC),
        "samples_ms": [round(float(sample), 4) for sample in samples_ms],
        "batch_samples_ms": {str(batch): [round(float(s), 4) for s in samples] for batch, samples in batch_ms.items()},
        "machine": machine(),
    }
    write_report(spec.report, spec, rows, details)
    return {"provider": provider, "num_threads": num_threads, "warmup_runs": warm.runs}


def _test_images(spec: Latency, crop_px: int) -> NDArray[np.uint8]:
    """Centre crops of up to MAX_IMAGES test images, uint8 [N, H, W, 3]."""
    dataset = open_dataset(spec.dataset)
    if dataset.manifest.stored_size_px < crop_px:
        raise BadInput(
            f"the dataset stores images with a short side of {dataset.manifest.stored_size_px} px; the model's input "
            f"is {crop_px} px. Give the dataset that the model was made from."
        )
    test = dataset.split("test")
    if not len(test):
        raise BadInput("the dataset's test split is empty: there are no images to feed.")
    return test.center_crops(range(min(len(test), MAX_IMAGES)), crop_px)


def _batches(pixels_NHWC: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    """Batches of `size`, made before anything is timed; images repeat where there are fewer than `size`."""
    num_batches = max(1, len(pixels_NHWC) // size)
    rows = np.arange(num_batches * size) % len(pixels_NHWC)
    return [pixels_NHWC[rows[start : start + size]] for start in range(0, len(rows), size)]


def _percentile_row(samples_ms: NDArray[np.float64], percent: int) -> Row:
    return _row(f"p{percent}_ms", percentile(samples_ms, percent, CONFIDENCE), "ms", 1, len(samples_ms))


def _row(name: str, estimate: Estimate, unit: str, batch: int, n: int) -> Row:
    value, low, high = estimate
    return Row(name=name, value=value, unit=unit, of=f"batch {batch}", n=n, low=low, high=high)
