"""How requests arrive, other than one after the other: at a given rate, or several at a time."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.latency.measure import Call, Clock


class Paced(NamedTuple):
    """Milliseconds of every request, requests answered a second, and the share of the time between two for an answer.

    From a `busy` of 1 on requests come faster than they are answered: they wait the longer the more there are.
    """

    samples_ms: NDArray[np.float64]
    answered_per_s: float
    busy: float


def paced(
    call: Call, rate: float, runs: Iterable[int], clock: Clock, sleep: Callable[[float], object] = time.sleep
) -> Paced:
    """Times from when a request was due (`rate` a second, evenly) to its answer: one that must wait says so.

    A loop that times calls alone would leave out the waiting, and the cores that fall asleep between requests.
    """
    began, samples, busy_s = clock(), list[float](), 0.0
    for run in runs:
        due = began + run / rate
        while (left := due - clock()) > 0:
            sleep(left)
        started = clock()
        call(run)
        answered = clock()
        busy_s += answered - started
        samples.append((answered - due) * 1000)
    return Paced(np.array(samples), len(samples) / (clock() - began), busy_s * rate / len(samples))


def concurrent_ms(call: Call, clients: int, seconds: float, clock: Clock) -> tuple[NDArray[np.float64], float]:
    """Milliseconds of every call that `clients` threads made, each as fast as it could, and the seconds it all took."""
    ends = clock() + seconds

    def client(number: int) -> list[float]:
        samples: list[float] = []
        while not samples or clock() < ends:
            started = clock()
            call(number + clients * len(samples))
            samples.append((clock() - started) * 1000)
        return samples

    began = clock()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(client, range(clients)))
    return np.array([sample for samples in found for sample in samples]), clock() - began
