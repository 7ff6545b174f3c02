"""How requests arrive, other than one after the other: at a given rate, or several at a time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from components.latency.measure import Call, Clock


def paced_ms(
    call: Call, rate: float, runs: int, clock: Clock, sleep: Callable[[float], object] = time.sleep
) -> NDArray[np.float64]:
    """Milliseconds from when a request was due (`rate` a second, evenly) to its answer: one that must wait says so.

    A loop that times calls alone would leave out the waiting, and the cores that fall asleep between requests.
    """
    began, samples = clock(), np.empty(runs)
    for run in range(runs):
        due = began + run / rate
        while (left := due - clock()) > 0:
            sleep(left)
        call(run)
        samples[run] = (clock() - due) * 1000
    return samples


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
