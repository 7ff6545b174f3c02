"""Other ways of asking than one image after the other: batches, clients, threads, a pace, files, other providers."""

import logging
import time

from components.interchange.dataset import Dataset
from components.interchange.errors import BadInput, counted
from components.interchange.progress import progress
from components.interchange.providers import present
from components.interchange.report import CONFIDENCE
from components.latency.figures import Figures
from components.latency.intervals import Estimate, throughput
from components.latency.loads import concurrent_ms, paced
from components.latency.measure import time_for, time_runs, warm_up
from components.latency.served import Served
from components.latency.spec import Latency

log = logging.getLogger("graft")
PROVIDER_RUNS = 100
clock = time.perf_counter


def in_batches(served: Served, spec: Latency, found: Figures) -> None:
    """Batches of every size that was asked for, each for `throughput_s`."""
    for batch in progress(spec.throughput_batches, "throughput", unit=" batch sizes"):
        call = served.call(batch)
        call(0)  # The first run of a new size allocates.
        samples = time_for(call, clock, spec.throughput_s)
        found.add(f"batch {batch}", samples, throughput(samples, batch, CONFIDENCE))


def by_clients(served: Served, spec: Latency, found: Figures) -> None:
    """Several clients at a time, each as fast as it is answered."""
    for clients in spec.concurrency:
        samples, seconds = concurrent_ms(served.call(), clients, spec.throughput_s, clock)
        found.add(f"{clients} clients", samples, Estimate(len(samples) / seconds, None, None))


def with_threads(served: Served, spec: Latency, found: Figures) -> None:
    """Other numbers of threads inside an operator."""
    for threads in (number for number in spec.threads_to_try if number != served.num_threads):
        call = served.call_otherwise(num_threads=threads)
        warm_up(call, clock, spec.max_warmup_runs // 5)
        samples = time_for(call, clock, spec.throughput_s)
        found.add(counted(threads, "threads"), samples, throughput(samples, 1, CONFIDENCE))


def at_pace(served: Served, spec: Latency, found: Figures) -> str | None:
    """Requests at the pace that was asked for; in words that they come faster than they are answered, else None."""
    if spec.rate is None:
        return None
    of = f"{spec.rate:g} requests/s"
    runs = progress(range(spec.timed_runs), of, total=spec.timed_runs, unit=" requests")
    times = paced(served.call(), spec.rate, runs, clock)
    found.add(of, times.samples_ms, Estimate(times.answered_per_s, None, None))
    if times.busy < 1:
        return None
    return f"{of} are more than were answered, {times.answered_per_s:.3g} a second: their times grow with their number"


def end_to_end(served: Served, dataset: Dataset, spec: Latency, found: Figures) -> None:
    """From the bytes of source files to logits."""
    if spec.end_to_end_runs:
        found.add("end to end", time_runs(served.call_from_sources(dataset), clock, range(spec.end_to_end_runs)))


def on_other_providers(served: Served, found: Figures) -> dict[str, str]:
    """Times of every provider that is here beside the chosen one; those that cannot start, with the reason."""
    not_started = {}
    for provider in (name for name in present() if name != served.provider):
        try:
            call = served.call_otherwise(provider)
        except BadInput as error:
            not_started[provider] = str(error)
            log.warning("provider=%s not_started=%s", provider, error)
            continue
        warm_up(call, clock, PROVIDER_RUNS)
        found.add(provider, time_runs(call, clock, range(PROVIDER_RUNS)))
    return not_started
