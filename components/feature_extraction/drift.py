"""How far the frozen features moved since the champion: the Fréchet distance between two normal distributions.

Dowson and Landau 1982, "The Fréchet distance between multivariate normal distributions"; as a measure of how far two
sets of images are apart by Heusel et al. 2017 (arXiv:1706.08500). Here its root, in units of how far the champion's
training images scatter, so that 1 means: as far as a training image commonly is from their mean.
Legend: N images, K dimensions.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange.feature_statistics import FeatureStatistics, Moments, moments_of
from components.interchange.report import Row

HALVINGS = 10
MAX_RATIO = 1.5  # Of what two halves are apart, which by chance is sqrt(2) times what two whole sets of images are.


class FeatureDrift(NamedTuple):
    """`distance` of the features since the champion, `limit` above which it is worth a warning."""

    distance: float
    limit: float

    @property
    def warning(self) -> str | None:
        """What to say of it, if anything."""
        if self.distance <= self.limit:
            return None
        return (
            f"Since the champion, the frozen features moved by {self.distance:.3f} of their own scatter (over "
            f"{self.limit:.3f}, {MAX_RATIO:g} times what two halves of the same training images are apart): the images "
            "show something else, or show it otherwise."
        )


def frechet_distance(one: Moments, other: Moments) -> float:
    """Root of |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1^0.5 S2 S1^0.5)^0.5)."""
    values_K, vectors_KK = np.linalg.eigh(one.covariance_KK)
    root_KK = (vectors_KK * np.sqrt(values_K.clip(0))) @ vectors_KK.T
    between_K = np.linalg.eigvalsh(root_KK @ other.covariance_KK @ root_KK)
    traces = np.trace(one.covariance_KK) + np.trace(other.covariance_KK) - 2 * np.sqrt(between_K.clip(0)).sum()
    return float(np.sqrt(max(0.0, np.square(one.mean_K - other.mean_K).sum() + traces)))


def scatter(moments: Moments) -> float:
    """Root of the mean squared distance of an image's features from their mean."""
    return float(np.sqrt(np.trace(moments.covariance_KK)))


def halves_distance(projected_NK: NDArray[np.float64], rng: np.random.Generator) -> float:
    """The largest distance between two random halves of the images in 10 halvings, in units of their scatter."""
    half = len(projected_NK) // 2
    found = []
    for _ in range(HALVINGS):
        shuffled_NK = projected_NK[rng.permutation(len(projected_NK))]
        found.append(frechet_distance(moments_of(shuffled_NK[:half]), moments_of(shuffled_NK[half:])))
    return max(found) / (scatter(moments_of(projected_NK)) or 1.0)


def feature_drift(now: FeatureStatistics, champion: FeatureStatistics) -> FeatureDrift:
    """Drift since the champion; the two must be of the same origin.

    Few images are far apart by chance alone, so the limit grows with what halves are apart, the champion's or ours.
    """
    distance = frechet_distance(champion.moments, now.moments) / (scatter(champion.moments) or 1.0)
    return FeatureDrift(distance, MAX_RATIO * max(now.halves_distance, champion.halves_distance))


def drift_rows(drift: FeatureDrift, images: int) -> list[Row]:
    """The distance and its limit."""
    unit = "of the champion's scatter"
    return [
        Row(name="feature_drift", value=drift.distance, unit=unit, split="train", n=images),
        Row(name="feature_drift_limit", value=drift.limit, unit=unit, split="train", n=images),
    ]
