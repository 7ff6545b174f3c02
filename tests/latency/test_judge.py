"""What the times allow to say, how requests arrive, and which precision is recommended: to the digit."""

import re
import time
from pathlib import Path

import numpy as np
import pytest

from components.latency.curve import Point, curve, ticks, times
from components.latency.intervals import Estimate
from components.latency.judge import noise, verdict
from components.latency.loads import concurrent_ms, paced
from components.latency.precisions import Rival, recommended
from components.latency.pressure import watched


class Hands:
    """A clock that stands still until somebody works or sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("p99", "noisy", "word"),
    [
        ((30, 29, 39), False, "pass"),
        ((30, 29, 39), True, "pass"),
        ((41, 38, 44), False, "inconclusive"),
        ((48, 44, 52), False, "fail"),
        ((48, 44, 52), True, "inconclusive"),
        ((30, 29, None), False, "inconclusive"),
    ],
)
def test_the_whole_interval_decides_and_noise_takes_a_failure_back(
    p99: tuple[float, float, float | None], noisy: bool, word: str
) -> None:
    assert verdict(Estimate(20, 19, 21), Estimate(*p99), 40, noisy) == word


def test_a_median_over_the_budget_fails_whatever_the_noise() -> None:
    assert verdict(Estimate(45, 44, 46), Estimate(60, 55, 90), 40, True) == "fail"


@pytest.mark.parametrize("runs", [20, 21, 39, 41])
def test_few_runs_are_held_against_themselves_too(runs: int) -> None:
    quiet = np.random.default_rng(0).normal(10, 0.01, runs)
    assert not noise(quiet).too_much
    slower = quiet + np.where(np.arange(runs) < runs / 2, 0.0, 3.0)  # From the middle on.
    assert noise(slower).p50_difference > 0.2


def test_a_machine_that_disagrees_with_itself_is_noisy() -> None:
    quiet = np.random.default_rng(0).normal(10, 0.2, 1000)
    assert not noise(quiet).too_much
    disturbed = quiet.copy()
    disturbed[np.arange(1000) // 20 % 2 == 1] *= 1.2  # Every other block ran beside something else.
    found = noise(disturbed)
    assert found.too_much
    assert found.p50_difference == pytest.approx(0.2, abs=0.02)
    slower = quiet.copy()
    slower[500:] *= 1.1  # Something began in the middle and stayed.
    assert noise(slower).p50_difference == pytest.approx(0.1, abs=0.02)
    assert noise(slower).too_much


def test_a_paced_request_counts_from_when_it_was_due() -> None:
    clock = Hands()
    took = iter([0.25, 0.01, 0.01, 0.01])
    found = paced(lambda run: clock.pass_by(next(took)), 10, range(4), clock, clock.pass_by)
    # Due at 0, 100, 200, 300 ms; the first is done at 250, so the second answers at 260, the third at 270.
    np.testing.assert_allclose(found.samples_ms, [250, 160, 70, 10])
    assert found.busy == pytest.approx(0.28 / 0.4)
    assert found.answered_per_s == pytest.approx(4 / 0.31)


def test_requests_that_come_faster_than_they_are_answered_are_told_from_slow_ones() -> None:
    clock = Hands()
    found = paced(lambda run: clock.pass_by(0.2), 10, range(50), clock, clock.pass_by)
    assert found.busy == pytest.approx(2)
    assert found.answered_per_s == pytest.approx(5)
    assert found.samples_ms[-1] == pytest.approx(5_100)  # The last waited for half of those before.


def test_clients_ask_at_the_same_time() -> None:
    asked: list[int] = []
    samples_ms, seconds = concurrent_ms(asked.append, 3, 0.02, __import__("time").perf_counter)
    assert len(samples_ms) == len(asked) >= 3
    assert {run % 3 for run in asked} == {0, 1, 2}
    assert seconds >= 0.02


def rival(precision: str, median_ms: float, eligible: bool = True) -> Rival:
    return Rival(precision, Estimate(median_ms, median_ms - 0.5, median_ms + 0.5), eligible)


@pytest.mark.parametrize(
    ("rivals", "best"),
    [
        ([rival("fp32", 10), rival("int8", 4), rival("fp16", 20)], "int8"),
        ([rival("fp32", 10), rival("int8", 4, eligible=False), rival("fp16", 8)], "fp16"),
        ([rival("fp32", 10), rival("int8", 4, eligible=False)], "fp32"),
        ([rival("fp32", 10), rival("int8", 9.5)], "fp32"),  # Not clearly faster.
        ([rival("fp32", 10, eligible=False), rival("int8", 12)], "int8"),
    ],
)
def test_the_fastest_that_passed_accuracy_is_recommended(rivals: list[Rival], best: str) -> None:
    assert recommended("fp32", rivals) == best


@pytest.mark.parametrize(
    ("most", "last", "count"),
    [(10.2, 10, 6), (11_300, 10_000, 6), (0.9, 0.8, 5), (1, 1, 6), (613, 600, 4), (60, 60, 7)],
)
def test_an_axis_has_a_few_round_numbers(most: float, last: float, count: int) -> None:
    found = ticks(most)
    assert (found[0], found[-1], len(found)) == (0, pytest.approx(last), count)


def test_work_that_never_pauses_shows_in_what_waits_for_a_core(tmp_path: Path) -> None:
    source = tmp_path / "cpu"

    def waited(seconds: float) -> None:
        source.write_text(f"some avg10=1.00 avg60=1.00 avg300=1.00 total={round(seconds * 1e6)}\nfull total=0\n")

    waited(100)
    with watched(source) as waiting:
        time.sleep(0.05)
        waited(1000)
    assert waiting.share == 1.0
    steady = np.random.default_rng(0).normal(10, 0.2, 1000)
    assert noise(steady, waiting.share).too_much and not noise(steady, 0.02).too_much
    with watched(tmp_path / "no such file") as unknown:
        pass
    assert unknown.share is None and not noise(steady, None).too_much


@pytest.mark.parametrize(
    ("least", "most", "marks"),
    [(5.5, 60, [5, 10, 20, 50, 100]), (10, 10, [10, 20]), (0.7, 1.0, [0.5, 1]), (2, 5, [2, 5])],
)
def test_an_axis_of_logarithms_has_round_numbers_on_both_sides(least: float, most: float, marks: list[float]) -> None:
    assert times(least, most) == pytest.approx(marks)


def test_labels_of_the_plot_do_not_lie_on_each_other() -> None:
    drawn = curve([Point("1 threads", 11, 87.3), Point("4 clients", 41, 90.3), Point("batch 1", 15, 88.0)])
    heights = sorted(float(y) for y in re.findall(r'y="([0-9.]+)" text-anchor="start">', drawn))
    assert len(heights) == 3 and min(np.diff(heights)) >= 14


def test_a_label_does_not_lie_on_the_next_point() -> None:
    drawn = curve(
        [
            Point("1 thread", 10, 37),
            Point("2 clients", 70, 28),
            Point("4 clients", 133, 28),
            Point("batch 32", 1078, 31),
        ]
    )
    assert re.findall(r'text-anchor="(\w+)">(\w+ \w+)<', drawn) == [
        ("start", "1 thread"),
        ("start", "batch 32"),
        ("end", "2 clients"),
        ("start", "4 clients"),
    ]


def test_the_plot_names_every_way_of_asking() -> None:
    drawn = curve([Point("batch <1>", 10, 100), Point("4 clients", 30, 180)])
    assert "batch &lt;1&gt;" in drawn and "4 clients" in drawn
    assert drawn.count("<circle") == 2


def test_no_label_is_cut_off_and_no_number_lies_on_another() -> None:
    drawn = curve([Point("1 thread", 15, 68), Point("1000 requests/s", 4430, 22.6)])
    place, anchor = re.search(r'<text x="([\d.]+)"[^>]*text-anchor="(\w+)"[^>]*>1000 requests/s<', drawn).groups()
    assert (anchor, float(place) < 360) == ("end", True)
    assert 'text-anchor="start">1 thread<' in drawn
    assert times(15, 4430) == pytest.approx([10, 100, 1000, 5000])
