"""Convolutions whose gradients oneDNN computes slowly in bf16 on a CPU take them in fp32.

Depthwise ones above all: with stride 2 the gradient of the input takes up to ten times as long in bf16, with 5 by 5
kernels that of the weights three times (torch 2.15, AVX512-BF16). Their forward pass is faster in bf16 and stays so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FEW_CHANNELS = 4


class GradientsInFloat(TorchFunctionMode):
    """While active, grouped convolutions and those of the images themselves go back in fp32."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d and torch.is_grad_enabled():
            found = _arguments(*args, **(kwargs or {}))
            if found is not None:
                return _Convolution.apply(*found)
        return cast(Callable[..., Any], func)(*args, **(kwargs or {}))


def _arguments(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Any, ...] | None:
    """The convolution's arguments where it is one of the slow ones and has a gradient; None elsewhere."""
    slow = groups > 1 or image.shape[1] <= FEW_CHANNELS
    if not slow or not (image.requires_grad or weight.requires_grad) or isinstance(padding, str):
        return None
    return image, weight, bias, *(_pair(each) for each in (stride, padding, dilation)), groups


def _pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


class _Convolution(torch.autograd.Function):
    """conv2d under autocast, with its gradient in fp32."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None, *shape: Any) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.shape, ctx.bias_sizes = shape, None if bias is None else list(bias.shape)
        return torch.conv2d(image, weight, bias, *shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        image, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.shape
        found = torch.ops.aten.convolution_backward(
            gradients[0].float(), image.float(), weight.float(), ctx.bias_sizes,
            stride, padding, dilation, False, [0, 0], groups, list(ctx.needs_input_grad[:3]),
        )  # fmt: skip
        of_image = None if found[0] is None else found[0].to(image.dtype)
        return (of_image, *found[1:], None, None, None, None)
