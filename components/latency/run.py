"""Measure the model as a server would run it: warm, cold, batched, at a pace, with many clients; then report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.interchange.cards import OnnxCard
from components.interchange.cli import log
from components.interchange.cores import num_cores
from components.interchange.dataset import Dataset, open_dataset
from components.interchange.errors import BadInput
from components.interchange.onnx_model import answer, as_input, logits_of
from components.interchange.pixels import preprocess
from components.interchange.progress import progress
from components.interchange.providers import present
from components.interchange.report import CONFIDENCE, Row, write_report
from components.interchange.step import RunContext
from components.latency.cold import cold_start
from components.latency.curve import Point
from components.latency.judge import noise, verdict
from components.latency.loads import concurrent_ms, paced
from components.latency.measure import Call, Estimate, percentile, runs_for, throughput, time_for, time_runs, warm_up
from components.latency.page import page
from components.latency.precisions import Rival, in_turn, recommended
from components.latency.pressure import watched
from components.latency.session import choose_provider, machine, open_session
from components.latency.spec import Latency

PERCENTILES = (50, 90, 99)
MAX_IMAGES = 256
PROVIDER_RUNS = 100


@dataclass
class Figures:
    """What is measured, as it grows: rows, points of the plot, samples by what they are of."""

    rows: list[Row]
    points: list[Point]
    samples_ms: dict[str, NDArray[np.float64]]

    def add(self, of: str, samples_ms: NDArray[np.float64], images_per_s: Estimate | None = None) -> None:
        """Every percentile that so many runs can give, and a point of the plot where a throughput is known."""
        self.samples_ms[of] = samples_ms
        n = len(samples_ms)
        allowed = [percent for percent in PERCENTILES if n >= runs_for(percent)] or [50]
        self.rows += [_row(f"p{p}_ms", percentile(samples_ms, p, CONFIDENCE), "ms", of, n) for p in allowed]
        if images_per_s is not None:
            self.rows.append(_row("images_per_s", images_per_s, "images/s", of, n))
            self.points.append(Point(of, float(np.median(samples_ms)), images_per_s.value))


def run(spec: Latency, context: RunContext) -> dict[str, object]:
    num_threads = spec.num_threads or num_cores()
    provider = choose_provider(spec.device)
    session, card = open_session(spec.onnx_model, provider, num_threads)
    log.info("step=latency provider=%s num_threads=%d", provider, num_threads)
    dataset = open_dataset(spec.dataset)
    pixels_NHWC = _test_images(dataset, card.preprocessing.crop_px)

    def of(session: Any, batch: int = 1) -> Call:
        batches = [as_input(part, card.input) for part in _batches(pixels_NHWC, batch)]
        return lambda run: answer(session, batches[run % len(batches)])

    one, clock = of(session), time.perf_counter
    warm = warm_up(one, clock, spec.max_warmup_runs)
    log.info("warmup_runs=%d settled=%s", warm.runs, warm.settled)
    runs = progress(range(spec.timed_runs), "latency at batch 1", total=spec.timed_runs, unit=" runs")
    with watched() as waiting:
        samples_ms = time_runs(one, clock, runs)
    rate = throughput(samples_ms, 1, CONFIDENCE)
    found = Figures([], [Point("batch 1", float(np.median(samples_ms)), rate.value)], {})
    p50, _, p99 = estimates = [percentile(samples_ms, percent, CONFIDENCE) for percent in PERCENTILES]
    found.rows = [
        _row(f"p{percent}_ms", estimate, "ms", "batch 1", len(samples_ms))
        for percent, estimate in zip(PERCENTILES, estimates, strict=True)
    ]
    found.rows.append(_row("images_per_s", rate, "images/s", "batch 1", len(samples_ms)))
    itself = noise(samples_ms, waiting.share)
    word = None if spec.max_p99_ms is None else verdict(p50, p99, spec.max_p99_ms, itself.too_much)

    for batch in progress(spec.throughput_batches, "throughput", unit=" batch sizes"):
        call = of(session, batch)
        call(0)  # The first run of a new size allocates.
        samples = time_for(call, clock, spec.throughput_s)
        found.add(f"batch {batch}", samples, throughput(samples, batch, CONFIDENCE))
    for clients in spec.concurrency:
        samples, seconds = concurrent_ms(one, clients, spec.throughput_s, clock)
        found.add(f"{clients} clients", samples, Estimate(len(samples) / seconds, None, None))
    for threads in (number for number in spec.threads_to_try if number != num_threads):
        call = of(open_session(spec.onnx_model, provider, threads)[0])
        warm_up(call, clock, spec.max_warmup_runs // 5)
        samples = time_for(call, clock, spec.throughput_s)
        found.add(f"{threads} {'thread' if threads == 1 else 'threads'}", samples, throughput(samples, 1, CONFIDENCE))
    overload = None if spec.rate is None else _at_pace(one, spec.rate, spec.timed_runs, found)
    if spec.end_to_end_runs:
        found.add("end to end", time_runs(_from_sources(session, card, dataset), clock, range(spec.end_to_end_runs)))
    not_started = _other_providers(spec.onnx_model, provider, num_threads, of, found)
    best, advice = _precisions(spec.onnx_model, card, session, provider, num_threads, of, found)
    colds = [cold_start(spec.onnx_model, provider, num_threads) for _ in range(spec.cold_starts)]
    found.rows += _cold_rows(colds)

    for row in found.rows:
        decimals = 0 if row.unit == "bytes" else 2
        log.info("%s=%.*f of=%s n=%s", row.name, decimals, row.value, row.of, row.n)
    found.rows += [Row(name="verdict", value=word), Row(name="recommended_precision", value=best)]
    details = {
        "provider": provider,
        "num_threads": num_threads,
        "precision": card.precision,
        "graph_optimisation": "all",
        "warmup_runs": warm.runs,
        "warmup_settled": warm.settled,
        "timed_runs": spec.timed_runs,
        "images": len(pixels_NHWC),
        "verdict": word,
        "max_p99_ms": spec.max_p99_ms,
        "noise": itself._asdict(),
        "noisy": itself.too_much,
        "overload": overload,
        "providers_not_started": not_started,
        "advice": advice,
        "samples_ms": _rounded(samples_ms),
        "other_samples_ms": {name: _rounded(samples) for name, samples in found.samples_ms.items()},
        "cold_starts": colds,
        "machine": machine(),
    }
    write_report(spec.report, spec, found.rows, details, page(found.rows, found.points, details))
    return {"provider": provider, "num_threads": num_threads, "warmup_runs": warm.runs}


def _at_pace(call: Call, rate: float, num_runs: int, found: Figures) -> str | None:
    """Measure requests at a pace; in words that they come faster than they are answered, None where they do not."""
    of = f"{rate:g} requests/s"
    runs = progress(range(num_runs), of, total=num_runs, unit=" requests")
    times = paced(call, rate, runs, time.perf_counter)
    found.add(of, times.samples_ms, Estimate(times.answered_per_s, None, None))
    if times.busy < 1:
        return None
    words = f"{of} are more than were answered, {times.answered_per_s:.3g} a second: their times grow with their number"
    log.warning("%s", words)
    return words


def _from_sources(session: Any, card: OnnxCard, dataset: Dataset) -> Call:
    """A call from the bytes of a source file to logits: decode, orient, resize, crop, model."""
    sources = [path.read_bytes() for path in dataset.originals().values()]
    if not sources:
        raise BadInput("the dataset has no originals/ to measure end to end. Run ingest again, or --end-to-end-runs 0.")
    return lambda run: logits_of(session, preprocess(sources[run % len(sources)], card.preprocessing)[None])


def _other_providers(
    folder: Path, chosen: str, num_threads: int, of: Callable[[Any], Call], found: Figures
) -> dict[str, str]:
    """Times of every provider that is here beside the chosen one; those that cannot start, with the reason."""
    not_started = {}
    for provider in present():
        if provider == chosen:
            continue
        try:
            call = of(open_session(folder, provider, num_threads)[0])
        except BadInput as error:
            not_started[provider] = str(error)
            log.warning("provider=%s not_started=%s", provider, error)
            continue
        warm_up(call, time.perf_counter, PROVIDER_RUNS)
        found.add(provider, time_runs(call, time.perf_counter, range(PROVIDER_RUNS)))
    return not_started


def _precisions(
    folder: Path,
    card: OnnxCard,
    session: Any,
    provider: str,
    num_threads: int,
    of: Callable[[Any], Call],
    found: Figures,
) -> tuple[str, str]:
    """The precision to ship, and the advice in words; nothing is measured where there is but one."""
    if not card.variants:
        return card.precision, ""
    calls: dict[str, Call] = {card.precision: of(session)}
    for variant in card.variants:
        calls[variant.precision] = of(open_session(folder, provider, num_threads, variant.file)[0])
    eligible: dict[str, bool] = {one.precision: one.eligible for one in card.variants}
    eligible[card.precision] = card.eligible
    rivals = []
    for precision, samples_ms in in_turn(calls, time.perf_counter).items():
        found.add(precision, samples_ms)
        rivals.append(Rival(precision, percentile(samples_ms, 50, CONFIDENCE), eligible[precision]))
    best = recommended(card.precision, rivals)
    shown = ", ".join(f"{r.precision} {r.p50.value:.3g} ms{'' if r.eligible else ' (not eligible)'}" for r in rivals)
    keep = f"keep {best}" if best == card.precision else f"ship {best}: --set export_onnx.precision={best}"
    return best, f"Medians in turn: {shown}. The fastest that passed accuracy: {keep}."


def _cold_rows(colds: Sequence[dict[str, float]]) -> list[Row]:
    """Medians of the cold starts. Of so few no interval can be given."""
    return [
        Row(
            name=name,
            value=float(np.median([cold[name] for cold in colds])),
            unit=name.split("_")[-1],
            of="cold start",
            n=len(colds),
        )
        for name in (colds[0] if colds else ())
    ]


def _rounded(samples_ms: Sequence[float] | NDArray[np.float64]) -> list[float]:
    return [round(float(sample), 4) for sample in samples_ms]


def _test_images(dataset: Dataset, crop_px: int) -> NDArray[np.uint8]:
    """Centre crops of up to MAX_IMAGES test images, uint8 [N, H, W, 3]."""
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


def _row(name: str, estimate: Estimate, unit: str, of: str, n: int) -> Row:
    value, low, high = estimate
    return Row(name=name, value=value, unit=unit, of=of, n=n, low=low, high=high)
