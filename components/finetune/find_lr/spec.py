"""What the learning-rate range test reads, writes and can be told."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from components.finetune.spec import Training
from components.interchange.step import param, writes


class FindLr(Training):
    """Find a base_lr by a range test of the training that the other parameters describe.

    Those that lay out a whole training (base_lr, num_epochs, warmup_fraction, ema_decay and their like) change nothing.
    """

    report: Path = writes("report", "Loss at every rate, with the rate to take")

    lowest_lr: float = param("base_lr of the first step", default=1e-6, gt=0)
    highest_lr: float = param("base_lr of the last step, if the loss does not explode before", default=1.0, gt=0)
    num_steps: int = param("Steps, each at a rate that is higher by the same factor", default=100, ge=20)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.highest_lr <= self.lowest_lr:
            raise ValueError(f"highest_lr={self.highest_lr:g} must be above lowest_lr={self.lowest_lr:g}")
        return self
