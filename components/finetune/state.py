"""Everything that a training is between two steps: what a checkpoint holds, and nothing besides."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from components.finetune.distributed import World
from components.finetune.param_groups import ParamGroup
from components.finetune.rates import Ledger
from components.finetune.replay import Replay
from components.interchange.errors import BadInput, listed
from components.interchange.ranks import is_first


class Progress(BaseModel):
    """Where a training stands. `batch` is the next one of `epoch` (from 1); all of them done, validation is next.

    `history` holds one record an epoch; `losses` those of the epoch at hand; `steps` counts those that were taken,
    `rates` holds what the optimiser used; `seconds` of the epochs that are done and `elapsed_s` of all, restarts left
    out.
    """

    model_config = ConfigDict(extra="forbid")

    epoch: int = 1
    batch: int = 0
    device_batch: int
    losses: list[float] = []
    steps: int = 0
    rates: Ledger = {}
    history: list[dict[str, Any]] = []
    best_epoch: int = 0
    elapsed_s: float = 0.0
    validation_s: float = 0.0
    seconds: list[float] = []
    images_per_s: list[float | None] = []


@dataclass
class State:
    """Model, optimiser, moving average and progress. `best` is the state dict after the best epoch, on the CPU.

    What no checkpoint holds: `fits`, the images that memory has held at once; `saved`, which says where the last
    checkpoint is, or nothing; the losses that nobody has looked at yet; `replay`, where passes are recorded.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    progress: Progress
    average: AveragedModel | None = None
    best: dict[str, Tensor] = field(default_factory=dict)
    replay: Replay | None = None
    fits: int = 0
    saved: Callable[[], str] = str
    unseen: list[tuple[Tensor, list[str]]] = field(default_factory=list)
    ticked_at: float = field(default_factory=time.monotonic)

    def tick(self) -> float:
        """Add the time that has passed since the last tick, and return it."""
        now = time.monotonic()
        passed, self.ticked_at = now - self.ticked_at, now
        self.progress.elapsed_s += passed
        return passed

    def agree_on_time(self, world: World) -> None:
        """Let all processes count the same time, so that they stop after the same step."""
        self.progress.elapsed_s = world.greatest(self.progress.elapsed_s)

    def note_loss(self, loss: Tensor, ids: list[str]) -> None:
        """A step's loss, wherever it lies, with the images that it is of; not looked at yet."""
        self.unseen.append((loss, ids))

    def see_losses(self) -> None:
        """Move what was noted to the losses of the epoch. BadInput for the first that is no finite number."""
        unseen, self.unseen = self.unseen, []
        values = torch.stack([loss for loss, _ in unseen]).tolist() if unseen else []
        for value, (_, ids) in zip(values, unseen, strict=True):
            if not math.isfinite(value):
                raise BadInput(self._not_finite(value, ids))
            self.progress.losses.append(value)

    def _step(self) -> int:
        """Number of the first step whose loss nobody has seen."""
        return self.progress.steps - self.progress.batch + len(self.progress.losses)

    def _not_finite(self, loss: float, ids: list[str]) -> str:
        at, saved = self.progress, self.saved()
        found = (
            f"the loss became {loss} at epoch {at.epoch}, batch {len(at.losses)} (step {self._step()}), on the images "
            f"{listed(ids)}."
        )
        if not is_first():  # The first of several processes, which has other images, knows of checkpoints.
            return found
        kept = (
            f"The last good checkpoint is {saved}. Other rates make another training: it needs another "
            "--checkpoint-uri, or none there."
            if saved
            else "No checkpoint was kept."
        )
        remedy = (
            "Lower --base-lr, raise --warmup-fraction, or set --clip-norm."
            if self._step() > 0
            else "Nothing was learnt yet: the --weights are damaged, or are not those of this backbone."
        )
        return f"{found} {remedy} {kept}"

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
