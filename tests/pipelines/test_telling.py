"""A fault that shows on few of many images is told there, and chance is not taken for one."""

import math

import numpy as np
import pytest

from pipelines.answer_scale import rms
from pipelines.telling import LEAST_TELLING, far_off, left_of_it

GREY, COLOURED, CLASSES = 11, 4, 3
RNG = np.random.default_rng(0)
RIGHT_NC = RNG.normal(0, 2, (GREY + COLOURED, CLASSES))
# As measured on a fine-tuned model: a decoder moves grey photographs by 0.1, the made pictures by a tenth of that.
NOISE_N = np.array([0.1] * GREY + [0.01] * COLOURED)
SLACK_N = 5 * NOISE_N
NOISE_NC = RNG.normal(0, 1, RIGHT_NC.shape) * NOISE_N[:, None]


def moved(images: int, by: float = 0.3) -> np.ndarray:
    """Right answers, of which the last `images` are moved by a fault."""
    faulty_NC = RIGHT_NC.copy()
    faulty_NC[-images:] += by * np.array([1, -1, 0.5])
    return faulty_NC


def test_a_fault_that_drowns_in_the_noise_of_other_images_is_told_where_it_shows() -> None:
    faulty_NC = moved(COLOURED)
    said_NC = faulty_NC + NOISE_NC

    assert rms(said_NC - faulty_NC) > 0.34 * rms(said_NC - RIGHT_NC)  # Over all images nothing is told.
    assert left_of_it(said_NC, RIGHT_NC, faulty_NC, SLACK_N) < 0.1


def test_a_right_client_with_a_decoder_of_its_own_points_at_no_fault() -> None:
    for _ in range(200):
        said_NC = RIGHT_NC + 4 * RNG.normal(0, 1, RIGHT_NC.shape) * NOISE_N[:, None]
        assert left_of_it(said_NC, RIGHT_NC, moved(COLOURED), SLACK_N) > 0.34
        assert not far_off(said_NC, RIGHT_NC, SLACK_N)


@pytest.mark.parametrize("faulty_NC", [moved(LEAST_TELLING - 1), moved(COLOURED, by=0.01)])
def test_too_few_images_and_moves_within_the_slack_tell_nothing(faulty_NC: np.ndarray) -> None:
    assert left_of_it(faulty_NC, RIGHT_NC, faulty_NC, SLACK_N) == math.inf


def test_who_does_not_depart_has_no_fault() -> None:
    assert left_of_it(RIGHT_NC, RIGHT_NC, moved(COLOURED), SLACK_N) == math.inf


@pytest.mark.parametrize(("times", "far"), [([9.0, 4.0, 0.5], 2), ([9.0, 2.9, 0.5], 0), ([3.1, 3.1, 3.1], 3)])
def test_two_images_far_beyond_their_slack_count_and_one_does_not(times: list[float], far: int) -> None:
    slack_N = np.array([0.1, 0.2, 1.0])
    right_NC = np.arange(6.0).reshape(3, 2)
    said_NC = right_NC + np.array(times)[:, None] * slack_N[:, None] * [1, -1]
    assert far_off(said_NC, right_NC, slack_N) == far
