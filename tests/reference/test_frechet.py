"""The Fréchet distance against its formula written with scipy's matrix square root, and cases solved by hand."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from components.feature_extraction.drift import frechet_distance
from components.interchange.feature_statistics import Moments, moments_of, projected


def moments(seed: int, images: int = 200, width: int = 6) -> Moments:
    rng = np.random.default_rng(seed)
    return moments_of(rng.normal(size=(images, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_formula_with_scipys_root(seed: int) -> None:
    one, other = moments(seed), moments(seed + 100)
    root_KK = sqrtm(one.covariance_KK @ other.covariance_KK).real
    squared = np.square(one.mean_K - other.mean_K).sum() + np.trace(
        one.covariance_KK + other.covariance_KK - 2 * root_KK
    )
    assert frechet_distance(one, other) == pytest.approx(np.sqrt(squared), rel=1e-6)
    assert frechet_distance(other, one) == pytest.approx(np.sqrt(squared), rel=1e-6)


def test_of_one_dimension_it_is_known_and_of_singular_covariances_too() -> None:
    def normal(mean: float, std: float) -> Moments:
        return Moments(np.array([mean, 0.0]), np.diag([std**2, 0.0]))

    assert frechet_distance(normal(1, 2), normal(4, 6)) == pytest.approx(5.0)
    assert frechet_distance(normal(1, 2), normal(1, 2)) == pytest.approx(0.0, abs=1e-6)


def test_the_projection_keeps_distances_and_never_changes() -> None:
    rng = np.random.default_rng(0)
    one_ND, other_ND = rng.normal(size=(2, 400, 1280)).astype(np.float32)
    ratios = np.square(projected(one_ND) - projected(other_ND)).sum(1) / np.square(one_ND - other_ND).sum(1)
    assert ratios.mean() == pytest.approx(1, abs=0.03)
    few_ND = np.eye(3, dtype=np.float32)
    assert projected(few_ND).shape == (3, 3)
    assert np.sign(projected(few_ND)).tolist() == [[-1, -1, 1], [1, 1, -1], [-1, 1, 1]]
