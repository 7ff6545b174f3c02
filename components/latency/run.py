"""Measure the model as a server would run it: cold, warm, batched, at a pace, with many clients; then report."""

import logging
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.interchange.cores import num_cores
from components.interchange.dataset import open_dataset
from components.interchange.progress import progress
from components.interchange.report import CONFIDENCE, Row, write_report
from components.interchange.step import RunContext
from components.latency import ways
from components.latency.figures import PERCENTILES, Figures
from components.latency.fresh import fresh_processes, together
from components.latency.intervals import NUM_PARTS, percentile, throughput
from components.latency.judge import Noise, Verdict, noise, verdict
from components.latency.measure import warm_up
from components.latency.page import VERDICTS, page
from components.latency.precisions import against_each_other
from components.latency.served import serve
from components.latency.session import choose_provider, machine
from components.latency.spec import Latency

log = logging.getLogger("graft")


def run(spec: Latency, context: RunContext) -> dict[str, object]:
    num_threads, provider = spec.num_threads or num_cores(), choose_provider(spec.device)
    dataset = open_dataset(spec.dataset)
    served = serve(spec.onnx_model, dataset, provider, num_threads)
    log.info("provider=%s num_threads=%d", provider, num_threads)

    processes = fresh_processes(served, spec.processes, spec.timed_runs, spec.max_warmup_runs)
    fresh = together(list(progress(processes, "latency at batch 1", total=spec.processes, unit=" processes")))
    log.info("warmup_runs=%d settled=%s", fresh.warm.runs, fresh.warm.settled)
    samples_ms, found = fresh.samples_ms, Figures()
    num_parts = spec.processes if spec.processes > 1 else NUM_PARTS
    by_percent = {percent: percentile(samples_ms, percent, CONFIDENCE, num_parts) for percent in PERCENTILES}
    found.add_estimates("batch 1", len(samples_ms), by_percent)
    rate = throughput(samples_ms, 1, CONFIDENCE, num_parts)
    found.add_throughput("batch 1", len(samples_ms), by_percent[50].value, rate)
    itself = noise(samples_ms, fresh.waiting)
    budget_ms = spec.max_p99_ms
    word = None if budget_ms is None else verdict(by_percent[50], by_percent[99], budget_ms, itself.too_much)

    warm_up(served.call(), time.perf_counter, spec.max_warmup_runs)
    ways.in_batches(served, spec, found)
    ways.by_clients(served, spec, found)
    ways.with_threads(served, spec, found)
    overload = ways.at_pace(served, spec, found)
    ways.end_to_end(served, dataset, spec, found)
    not_started = ways.on_other_providers(served, found)
    best, advice = against_each_other(served, found)
    found.add_medians("cold start", fresh.cold)

    warnings = _warnings(itself, overload, word, budget_ms)
    for warning in warnings:
        log.warning("%s", warning)
    for row in found.rows:
        decimals = 0 if row.unit == "bytes" else 2
        log.info("%s=%.*f of=%s n=%s", row.name, decimals, row.value, row.of, row.n)
    found.rows += [Row(name="verdict", value=word), Row(name="recommended_precision", value=best)]
    details = {
        "provider": provider,
        "num_threads": num_threads,
        "precision": served.card.precision,
        "graph_optimisation": "all",
        "processes": spec.processes,
        "warmup_runs": fresh.warm.runs,
        "warmup_settled": fresh.warm.settled,
        "timed_runs": spec.timed_runs,
        "images": len(served.pixels_NHWC),
        "verdict": word,
        "max_p99_ms": spec.max_p99_ms,
        "noise": itself._asdict(),
        "noisy": itself.too_much,
        "warnings": warnings,
        "overload": overload,
        "providers_not_started": not_started,
        "advice": advice,
        "samples_ms": _rounded(samples_ms),
        "other_samples_ms": {name: _rounded(samples) for name, samples in found.samples_ms.items()},
        "cold_starts": fresh.cold,
        "machine": machine(),
    }
    write_report(spec.report, spec, found.rows, details, page(found.rows, found.points, details))
    return {"provider": provider, "num_threads": num_threads, "warmup_runs": fresh.warm.runs}


def _warnings(itself: Noise, overload: str | None, word: Verdict | None, budget_ms: float | None) -> list[str]:
    found = ["the machine was too noisy for these figures to be trusted"] if itself.too_much else []
    found += [overload] if overload else []
    if word is not None and word != "pass":
        found.append(f"{VERDICTS[word].format(budget_ms)} What ships goes by gate's --max-p99-ms, not by this one.")
    return found


def _rounded(samples_ms: Sequence[float] | NDArray[np.float64]) -> list[float]:
    return [round(float(sample), 4) for sample in samples_ms]
