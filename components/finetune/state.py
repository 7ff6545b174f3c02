"""Everything that a training is between two steps: what a checkpoint holds, and nothing besides."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from components.finetune.param_groups import ParamGroup


class Progress(BaseModel):
    """Where a training stands. `batch` is the next one of `epoch` (from 1); all of them done, validation is next.

    `history` holds one record an epoch; `losses` those of the epoch at hand; `factors` the schedule's factor of every
    step so far; `seconds` of the epochs that are done and `elapsed_s` of all, restarts left out.
    """

    model_config = ConfigDict(extra="forbid")

    epoch: int = 1
    batch: int = 0
    device_batch: int
    losses: list[float] = []
    factors: list[float] = []
    history: list[dict[str, Any]] = []
    best_epoch: int = 0
    elapsed_s: float = 0.0
    seconds: list[float] = []
    images_per_s: list[float] = []


@dataclass
class State:
    """Model, optimiser, moving average and progress. `best` is the state dict after the best epoch, on the CPU."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    progress: Progress
    average: AveragedModel | None = None
    best: dict[str, Tensor] = field(default_factory=dict)
    ticked_at: float = field(default_factory=time.monotonic)

    def step(self, steps_an_epoch: int) -> int:
        """Number of the step at hand, from 0."""
        return (self.progress.epoch - 1) * steps_an_epoch + self.progress.batch

    def tick(self) -> None:
        """Add the time that has passed since the last tick."""
        now = time.monotonic()
        self.progress.elapsed_s += now - self.ticked_at
        self.ticked_at = now

    @property
    def shipped(self) -> nn.Module:
        """The model that is scored and kept: the moving average where there is one."""
        return self.model if self.average is None else self.average.module

    def keep_if_best(self) -> None:
        """Keep the weights if the last epoch of the history has the highest val top-1, of equals the lowest nll."""
        history = self.progress.history
        if max(history, key=lambda one: (one["val_top1"], -one["val_nll"])) is history[-1]:
            self.progress.best_epoch = history[-1]["epoch"]
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.shipped.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state by a name that says whose it is."""
        found = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            found |= {f"optimizer/{name}/{moment}": tensor for moment, tensor in moments.items()}
        if self.average is not None:
            found |= {f"average/{name}": tensor for name, tensor in self.average.state_dict().items()}
        return found | {f"best/{name}": tensor for name, tensor in self.best.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put tensors back to where `tensors()` took them from, into the memory formats that are there."""
        self.model.load_state_dict(_under("model/", tensors))
        if self.average is not None:
            self.average.load_state_dict(_under("average/", tensors))
        for name, parameter in self.model.named_parameters():
            saved = _under(f"optimizer/{name}/", tensors)
            if saved:
                self.optimizer.state[parameter] = {
                    moment: _like(parameter, tensor) if tensor.shape == parameter.shape else _count(self, tensor)
                    for moment, tensor in saved.items()
                }
        self.best = _under("best/", tensors)


def optimizer_over(groups: Sequence[ParamGroup]) -> torch.optim.Optimizer:
    """AdamW in its fused form over groups that remember their `peak_lr`."""
    return torch.optim.AdamW([with_peak(group) for group in groups], fused=True)


def with_peak(group: ParamGroup) -> ParamGroup:
    """The group, with the rate that the schedule's factor is taken of."""
    return {**group, "peak_lr": group["lr"]}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _like(parameter: Tensor, saved: Tensor) -> Tensor:
    """In the parameter's strides, as the optimiser makes its moments: other strides take kernels that round apart."""
    return torch.empty_like(parameter, requires_grad=False).copy_(saved)


def _count(state: State, saved: Tensor) -> Tensor:
    """AdamW's step count, on the device where its fused form wants it."""
    return saved.to(next(state.model.parameters()).device)
