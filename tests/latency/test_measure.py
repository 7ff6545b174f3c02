"""Warm-up, timing, percentiles and their intervals, to the digit: the clock and the call are given."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from components.latency.intervals import percentile, throughput
from components.latency.measure import time_for, time_runs, warm_up


class Clock:
    """A clock that stands still except while a call takes the time it was given, in ms."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[int] = []

    def __call__(self) -> float:
        return self.now_s

    def call_taking(self, ms_of_run: Callable[[int], float]) -> Callable[[int], None]:
        def call(run: int) -> None:
            self.calls.append(run)
            self.now_s += ms_of_run(run) / 1000

        return call


def test_warm_up_ends_when_two_blocks_agree() -> None:
    # Medians of the blocks of 20: 100, 50, 48 (4 % less: settled).
    clock = Clock()
    warm = warm_up(clock.call_taking(lambda run: [100, 50, 48, 48][run // 20]), clock, 500)
    assert (warm.runs, warm.settled) == (60, True)
    assert clock.calls == list(range(60))


def test_warm_up_goes_on_while_times_still_fall_or_rise() -> None:
    clock = Clock()
    warm = warm_up(clock.call_taking(lambda run: [100, 94, 100, 100][run // 20]), clock, 500)
    assert warm.runs == 80


def test_one_slow_run_does_not_unsettle_a_block() -> None:
    clock = Clock()
    assert warm_up(clock.call_taking(lambda run: 5000 if run == 25 else 10), clock, 500).runs == 40


@pytest.mark.parametrize("max_runs", [10, 20, 50, 60])
def test_warm_up_gives_up_at_its_limit_and_says_so(max_runs: int) -> None:
    clock = Clock()
    warm = warm_up(clock.call_taking(lambda run: 2.0 ** (run // 20)), clock, max_runs)
    assert (warm.runs, warm.settled) == (max_runs, False)
    assert clock.calls == list(range(max_runs))


def test_every_sample_is_kept_in_order_and_nothing_between_runs_is_timed() -> None:
    clock = Clock()

    def runs_with_a_slow_bar() -> Iterator[int]:
        for run in range(4):
            clock.now_s += 1
            yield run

    samples_ms = time_runs(clock.call_taking(lambda run: [3, 1, 4, 1][run]), clock, runs_with_a_slow_bar())
    np.testing.assert_allclose(samples_ms, [3, 1, 4, 1])


def test_time_for_stops_at_its_time_but_not_before_five_batches() -> None:
    clock = Clock()
    assert len(time_for(clock.call_taking(lambda _: 100), clock, 0.95)) == 10
    assert len(time_for(clock.call_taking(lambda _: 1000), clock, 0.5)) == 5


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_percentiles_of_a_known_sequence(percent: int) -> None:
    samples = np.random.default_rng(0).permutation(np.arange(1.0, 1001.0))
    assert percentile(samples, percent, 0.95).value == 10 * percent
    assert percentile(samples, percent, 0.95).value == np.percentile(samples, percent, method="inverted_cdf")


def test_interval_by_hand() -> None:
    # B ~ binomial(20, 1/2): P(B <= 5) = 0.0207 < 0.025 <= P(B <= 6), so the bounds are the 6th and the 15th of 20.
    # Exact coverage 1 - 2 * 0.0207 = 0.959 (tables: David and Nagaraja, n = 20).
    estimate = percentile(np.arange(1.0, 21.0), 50, 0.95)
    assert estimate == (10, 6, 15)


@pytest.mark.parametrize(("percent", "enough"), [(50, 20), (90, 100), (99, 1000)])
def test_a_percentile_of_fewer_runs_than_it_needs_has_no_upper_bound(percent: int, enough: int) -> None:
    samples = np.random.default_rng(0).exponential(1.0, enough)
    assert None not in percentile(samples, percent, 0.95)
    fewer = percentile(samples[1:], percent, 0.95)
    assert fewer.low is not None and fewer.high is None


def test_three_samples_give_no_lower_bound_either() -> None:
    assert percentile(np.arange(3.0), 50, 0.95)[1:] == (None, None)


@pytest.mark.parametrize(("percent", "truth"), [(50, np.log(2)), (90, np.log(10)), (99, np.log(100))])
def test_intervals_cover_the_truth_as_often_as_they_say(percent: int, truth: float) -> None:
    rng, rounds = np.random.default_rng(1), 300
    bounds = [percentile(rng.exponential(1.0, 1000), percent, 0.95)[1:] for _ in range(rounds)]
    covered = np.mean([low <= truth <= high for low, high in bounds])  # type: ignore[operator]
    # At least 0.95 by construction, a little more for p99 (ranks are whole); 3 standard errors are 0.04.
    assert 0.92 <= covered <= 0.995


def test_what_lasts_for_many_runs_widens_the_interval() -> None:
    rng = np.random.default_rng(2)
    states = np.repeat(rng.choice([10.0, 12.0], 20), 50)  # Every 50 runs the machine is slow or fast.
    samples = states + rng.normal(0, 0.1, 1000)
    estimate, shuffled = percentile(samples, 50, 0.95), percentile(rng.permutation(samples), 50, 0.95)
    assert estimate.low is not None and estimate.high is not None
    assert estimate.low < 10.2 and estimate.high > 11.8
    assert shuffled.value == estimate.value and shuffled.low is not None and shuffled.high is not None
    assert shuffled.high - shuffled.low < (estimate.high - estimate.low) / 2


def test_processes_that_differ_are_covered_as_often_as_the_interval_says() -> None:
    rng, rounds, truth = np.random.default_rng(3), 200, 10.0
    bounds = []
    for _ in range(rounds):
        of_processes = np.repeat(rng.normal(truth, 0.3, 10), 100)
        bounds.append(percentile(of_processes + rng.normal(0, 0.1, 1000), 50, 0.95, 10)[1:])
    covered = np.mean([low <= truth <= high for low, high in bounds])  # type: ignore[operator]
    assert 0.9 <= covered <= 0.995  # 3 standard errors are 0.05.


def test_the_interval_of_two_processes_by_hand() -> None:
    # Student's t with 1 degree of freedom is 12.706. Of 40 samples k lie below x, all in one part of 20: their share is
    # k / 40, its interval reaches 12.706 * sqrt(2 * 2 * (k / 2) ** 2) / 40. That leaves 0.5 out for k = 1, not for 2.
    samples = np.concatenate([np.arange(10.0, 30.0), np.arange(110.0, 130.0)])
    assert percentile(samples, 50, 0.95, 2) == (29, 11, 128)
    one, other = throughput(samples, 1, 0.95, 2), throughput(samples, 1, 0.95, 40)
    assert one.value == other.value and one.high is None and other.high is not None


def test_throughput_counts_images_over_all_batches() -> None:
    estimate = throughput(np.array([90.0, 100.0, 110.0]), 8, 0.95)
    assert estimate.value == pytest.approx(80)  # 24 images in 300 ms.
    # Student's t with 2 degrees of freedom: 4.3027 * 10 / sqrt(3) = 24.84 ms.
    assert estimate.low == pytest.approx(8000 / 124.84, rel=1e-4)
    assert estimate.high == pytest.approx(8000 / 75.16, rel=1e-4)
    assert throughput(np.array([1.0, 1000.0]), 8, 0.95).high is None
