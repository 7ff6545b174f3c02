"""What feature_extraction reads, writes and can be told."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from components.interchange.step import param, writes
from components.interchange.transfer import Transfer


class FeatureExtraction(Transfer):
    """The baseline: frozen backbone, features once, a linear head fitted to the optimum."""

    classifier: Path = writes("classifier", "Pretrained backbone with the fitted head")
    report: Path = writes("report", "Scores on train and val for every l2 that was tried")

    l2_candidates: tuple[float, ...] = param(
        "Penalties to choose from on val", default=(1e-3, 1e-2, 1e-1, 1.0, 10.0), min_length=1
    )
    batch_size: int = param("Images a forward pass, halved where memory runs out", default=64, unit="images", ge=1)
    device: Literal["auto", "cpu", "cuda"] = param("Where to compute", default="auto")
    seed: int = param("Seed of everything random", default=0, ge=0, lt=2**63)

    @field_validator("l2_candidates")
    @classmethod
    def _positive(cls, candidates: tuple[float, ...]) -> tuple[float, ...]:
        if min(candidates) <= 0:
            raise ValueError("every penalty must be above 0: without one, separable classes have no optimum")
        return candidates
