"""What evaluate reads, writes and can be told."""

from pathlib import Path
from typing import Literal

from components.interchange.step import Spec, param, reads, writes


class Evaluate(Spec):
    """One protocol for baseline, candidate and champion: choose on val, let test veto."""

    dataset: Path = reads("dataset", "Images of the val and test splits")
    baseline: Path | None = reads("classifier", "What feature_extraction made", optional=True)
    candidate: Path | None = reads("classifier", "What finetune made", optional=True)
    selected: Path = writes("classifier", "The winner, with the temperature that its logits are divided by")
    report: Path = writes("report", "Scores with intervals, paired differences, mistakes")

    bootstrap_samples: int = param("Resamples behind every interval", default=2000, ge=100)
    wanted_precision: float = param(
        "Share of right answers that the confidence threshold is chosen for, on val", default=0.99, gt=0, lt=1
    )
    max_near_bits: int = param(
        "Bits of 64 by which perceptual hashes of a test image and of the champion's training image may differ",
        default=10,
        unit="bits",
        ge=0,
        le=16,
    )
    ece_bins: int = param("Equal-width confidence bins", default=15, ge=2)
    shown_mistakes: int = param("Most confident mistakes shown as pictures", default=24, ge=0, le=200)
    batch_size: int = param("Images a forward pass, halved where memory runs out", default=64, unit="images", ge=1)
    device: Literal["auto", "cpu", "cuda"] = param("Where to compute", default="auto")
    seed: int = param("Seed of the bootstrap", default=0, ge=0)
