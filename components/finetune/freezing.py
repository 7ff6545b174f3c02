"""Frozen stages: no gradient, no place in the optimiser, and by default fixed BatchNorm statistics; with the proof."""

from collections.abc import Mapping, Sequence
from typing import get_args

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from components.finetune.param_groups import STAGES, Stage
from components.finetune.spec import Freeze, FrozenBatchNorm


def frozen_stages(freeze: Freeze) -> tuple[Stage, ...]:
    """The stages up to and with `freeze`."""
    return () if freeze == "none" else STAGES[: STAGES.index(freeze) + 1]


def freeze_at(freeze: Freeze, unfreeze_at: Sequence[int], epoch: int) -> Freeze:
    """Up to which stage `epoch` (from 1) is frozen: each epoch of `unfreeze_at` frees one, the deepest first."""
    levels: tuple[Freeze, ...] = get_args(Freeze)
    freed = sum(epoch >= due for due in unfreeze_at)
    return levels[max(0, levels.index(freeze) - freed)]


def epochs_in_vain(trained: int, best_epoch: int, unfreeze_at: Sequence[int]) -> int:
    """Epochs since val got better, counted anew from the last unfreezing on: before it, not all has been tried."""
    return trained - max(best_epoch, *(due - 1 for due in unfreeze_at), 0)


def freeze_stages(model: nn.Module, stages: Mapping[str, Stage], freeze: Freeze) -> None:
    """Take the gradient from every parameter of the stages up to and with `freeze`."""
    frozen = frozen_stages(freeze)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(stages[name] not in frozen)


def train_mode(model: nn.Module, frozen_batchnorm: FrozenBatchNorm) -> None:
    """Train mode for what learns, eval mode for modules without a trainable parameter.

    With `adapt` the BatchNorm layers of frozen stages normalise by the batch and follow its statistics all the same.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
    if frozen_batchnorm == "adapt":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.train()


def untouchable(
    model: nn.Module, stages: Mapping[str, Stage], freeze: Freeze, frozen_batchnorm: FrozenBatchNorm
) -> dict[str, Tensor]:
    """The part of the state dict that training must leave as it is: frozen parameters, and their stages' buffers
    unless BatchNorm adapts.
    """
    frozen = frozen_stages(freeze)
    parameters = {name for name, _ in model.named_parameters()}
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if stages[name] in frozen and (name in parameters or frozen_batchnorm == "frozen")
    }
