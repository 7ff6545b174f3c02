"""An exponential moving average of the weights, which then is what is scored and kept."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """torch's averaged copy of a model, its buffers the model's own; None for a decay of 0.

    The decay rises with the number n of averages as min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage, so that a short training is not an average of its first weights.
    """
    if decay == 0:
        return None

    @torch.no_grad()
    def update(averages: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        weight = 1 - min(decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        for average, now in zip(averages, current, strict=True):
            average.lerp_(now, weight)

    return AveragedModel(model, multi_avg_fn=update)
