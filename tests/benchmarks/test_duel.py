"""The arithmetic of the benchmarks: medians, ratios pair by pair, targets in both senses."""

import json

import pytest

from tests.benchmarks.duel import Target, alternate, report


def test_sides_take_turns_and_warm_up_turns_do_not_count() -> None:
    order: list[str] = []
    figures = iter(range(100))

    def side(name: str) -> float:
        order.append(name)
        return float(next(figures))

    ours, peer = alternate(lambda: side("ours"), lambda: side("peer"), n=2, warmups=1)
    assert order == ["ours", "peer"] * 3
    assert (ours, peer) == ([2.0, 4.0], [3.0, 5.0])


def test_the_ratio_is_the_median_of_the_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    met = report("b", [2.0, 9.0, 30.0], [1.0, 3.0, 10.0], "peer", "images/s", Target(">=", 3.5), ("numpy",))
    line = json.loads(capsys.readouterr().out)
    assert (line["ours"], line["peer"], line["ratio"], line["n"]) == (9.0, 3.0, 3.0, 3)
    assert met is line["ok"] is False
    assert line["target"] == ">= 3.5"
    assert {"processor", "cores", "threads", "python", "numpy"} <= line["machine"].keys()


@pytest.mark.parametrize(("sense", "ratio", "met"), [("<=", 0.4, True), ("<=", 0.6, False), (">=", 0.5, True)])
def test_a_target_knows_its_sense(sense: str, ratio: float, met: bool) -> None:
    assert Target(sense, 0.5).met_by(ratio) is met  # type: ignore[arg-type]
