"""McNemar's exact test against the binomial sum, spelled out."""

import math

import numpy as np
import pytest

from components.evaluate.mcnemar import mcnemar_p


def outcomes(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return np.array(first), np.array(second)


@pytest.mark.parametrize(("wins", "losses"), [(0, 1), (5, 0), (9, 2), (2, 9), (7, 7), (40, 21)])
def test_p_is_twice_the_binomial_tail_of_the_images_that_only_one_gets_right(wins, losses):
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1)) / 2**n

    assert mcnemar_p(*outcomes(50, wins, losses, 10)) == pytest.approx(min(1.0, 2 * tail))


def test_images_that_both_or_neither_gets_right_tell_nothing():
    assert mcnemar_p(*outcomes(3, 6, 1, 0)) == mcnemar_p(*outcomes(300, 6, 1, 90))
    assert mcnemar_p(*outcomes(20, 0, 0, 5)) == 1.0


def test_p_does_not_depend_on_who_comes_first():
    first, second = outcomes(10, 8, 1, 4)

    assert mcnemar_p(first, second) == pytest.approx(mcnemar_p(second, first))
