"""Intervals of shares and paired changes against scipy, a simulation, and the edges."""

import numpy as np
import pytest
from scipy.stats import binomtest

from components.evaluate.proportions import paired_change, share


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (90, 100), (1, 3), (700, 1000)])
def test_the_interval_of_a_share_is_wilsons(hits, n):
    found = share(np.arange(n) < hits)
    expected = binomtest(hits, n).proportion_ci(method="wilson")

    assert found.value == hits / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_images_have_no_share():
    assert np.isnan(share(np.zeros(0, bool))).all()
    assert np.isnan(paired_change(np.zeros(0, bool), np.zeros(0, bool))).all()


def test_few_images_that_agree_prove_little():
    same = np.ones(3, bool)

    found = paired_change(same, same)

    assert found.value == 0
    assert found.low < -0.3
    assert found.high > 0.3


def test_the_interval_of_a_change_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        both = rng.random(40)
        found = paired_change(both < 0.85, (both < 0.7) | (both > 0.95))
        held.append(found.low <= 0.10 <= found.high)

    assert 0.93 <= np.mean(held) <= 0.98
