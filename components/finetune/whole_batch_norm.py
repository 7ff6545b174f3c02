"""BatchNorm that in train mode follows the batch of all processes.

Legend: N images, C channels, H height, W width, which BatchNorm1d's features lack.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm


def whole_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with such layers: torch's own on GPUs; torch has none for the CPU."""
    if device.type == "cuda":
        return cast(nn.Module, convert_sync_batchnorm(model))
    for name, module in list(model.named_modules()):
        if isinstance(module, _BatchNorm):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, WholeBatchNorm(module))
    return model


class _Sum(torch.autograd.Function):
    """The sum of all processes' tensors, which each process's loss may depend on."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _summed(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(own: Tensor) -> Tensor:
    found = own.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(found)
    return found


class WholeBatchNorm(_BatchNorm):
    """One of torch's layers, or of timm's with an activation inside, with its parameters and buffers."""

    def __init__(self, replaced: _BatchNorm) -> None:
        super().__init__(replaced.num_features, replaced.eps, replaced.momentum, replaced.affine, device="meta")
        for name, parameter in replaced.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in replaced.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.drop, self.act = (getattr(replaced, name, nn.Identity()) for name in ("drop", "act"))
        self.train(replaced.training)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """The normalised images, in their own type."""
        if not self.training:
            eval_arguments = (self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
            return cast(Tensor, self.act(self.drop(batch_norm(images_NCHW, *eval_arguments))))
        var_C, mean_C = self._of_all(images_NCHW.float())
        scale_C = torch.rsqrt(var_C + self.eps)
        scale_C = scale_C * self.weight if self.affine else scale_C
        shift_C = self.bias - mean_C * scale_C if self.affine else -mean_C * scale_C
        wide = (-1, *[1] * (images_NCHW.ndim - 2))
        found_NCHW = images_NCHW * scale_C.view(wide) + shift_C.view(wide)
        return cast(Tensor, self.act(self.drop(found_NCHW.to(images_NCHW.dtype))))

    def _of_all(self, own_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Variance and mean over all processes' images; the running statistics follow.

        Each process's variance about its own mean, and the square of that mean's distance from the mean of all: a
        difference of squares' mean and mean's square would lose small variances.
        """
        own_var_C, own_mean_C = torch.var_mean(own_NCHW, dim=(0, *range(2, own_NCHW.ndim)), correction=0)
        own_count = own_NCHW[:, 0].numel()
        total = torch.tensor(float(own_count))
        dist.all_reduce(total)
        count = float(total)
        weight = own_count / count
        mean_C = cast(Tensor, _Sum.apply(own_mean_C * weight))
        var_about_mean_C = own_var_C + (own_mean_C - mean_C) ** 2
        var_C = cast(Tensor, _Sum.apply(var_about_mean_C * weight))
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(var_C * count / (count - 1), self.momentum)
        return var_C, mean_C
