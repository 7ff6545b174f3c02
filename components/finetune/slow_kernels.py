"""Convolutions whose gradients oneDNN computes slowly, or not at all, on a CPU take them another way.

Of depthwise convolutions the gradient of the weights is fast up to three columns of taps (wider kernels are put
together from such strips), that of the image with stride 1 (others are put together from phases that have it); else
they take five to twenty times as long as in fp32. Other grouped convolutions and the first one, of few channels, go
back in fp32 throughout. Measured with torch 2.15 on AVX512-BF16, batch 32. The forward pass is faster in bf16 and
stays so.

Of a 1x1 convolution with a stride and under 16 channels, channels-last, as FastViT and MobileOne begin, the gradient of
the weights ends the process (segmentation fault, torch 2.15, fp32 as well): it is that of the pixels that are read.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FEW_CHANNELS = 4
STRIP = 3
CHANNELS_THAT_HOLD = 16


class OtherGradients(TorchFunctionMode):
    """While active, convolutions have the gradients of this module where their own crash, and those that are slow in
    `bf16` as well: grouped ones, and those of the images themselves.
    """

    def __init__(self, bf16: bool) -> None:
        super().__init__()
        self._bf16 = bf16

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d and torch.is_grad_enabled():
            found = _arguments(*args, **(kwargs or {}))
            if found is not None and (_crashes(found) or (self._bf16 and _is_slow(found))):
                return _Convolution.apply(*found)
        return cast(Callable[..., Any], func)(*args, **(kwargs or {}))


class _Shape(NamedTuple):
    """What conv2d is told beside its tensors; down and across."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class _Arguments(NamedTuple):
    image: Tensor
    weight: Tensor
    bias: Tensor | None
    shape: _Shape


def _arguments(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> _Arguments | None:
    """The convolution's arguments where it has a gradient and numbers for padding; None elsewhere."""
    if not (image.requires_grad or weight.requires_grad) or isinstance(padding, str):
        return None
    return _Arguments(image, weight, bias, _Shape(_pair(stride), _pair(padding), _pair(dilation), groups))


def _is_slow(found: _Arguments) -> bool:
    return found.shape.groups > 1 or found.image.shape[1] <= FEW_CHANNELS


def _crashes(found: _Arguments) -> bool:
    return _skips_pixels(found.weight, found.shape) and found.image.shape[1] < CHANNELS_THAT_HOLD


def _skips_pixels(weight: Tensor, shape: _Shape) -> bool:
    """Whether a kernel of one tap meets only some of the pixels."""
    return weight.shape[2:] == (1, 1) and shape.stride != (1, 1) and shape.padding == (0, 0)


def _pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


class _Convolution(torch.autograd.Function):
    """conv2d under autocast, with its gradient in the numbers, and by the kernels, that are fast."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None, shape: _Shape) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.shape = shape
        return torch.conv2d(image, weight, bias, *shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        image, weight = ctx.saved_tensors
        gradient, shape, of_image, of_weight, of_bias = gradients[0], ctx.shape, None, None, None
        depthwise = shape.groups == image.shape[1] and shape.dilation == (1, 1)
        if ctx.needs_input_grad[0]:
            dtype = gradient.dtype if depthwise else torch.float32
            give = _in_phases if depthwise and shape.stride != (1, 1) else _of_image
            of_image = give(gradient.to(dtype), image, weight.to(dtype), shape).to(image.dtype)
        if ctx.needs_input_grad[1]:
            dtype = gradient.dtype if depthwise else torch.float32
            take = _in_strips if depthwise else _whole
            of_weight = take(gradient.to(dtype), image.to(dtype), weight.to(dtype), shape).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3), dtype=torch.float32)
        return of_image, of_weight, of_bias, None


def _of_image(gradient: Tensor, image: Tensor, weight: Tensor, shape: _Shape) -> Tensor:
    unread = torch.empty_like(image, dtype=gradient.dtype)  # Its sizes are all that is looked at.
    return _backward(gradient, unread, weight, shape, 0)


def _in_phases(gradient: Tensor, image: Tensor, weight: Tensor, shape: _Shape) -> Tensor:
    """The image's gradient under a stride: of each phase of its rows and columns from the taps that ever meet it, with
    stride 1 and without padding.
    """
    found = torch.empty_like(image, dtype=gradient.dtype)
    by, padding, alone = shape.stride, shape.padding, shape._replace(stride=(1, 1), padding=(0, 0))
    for row, column in itertools.product(*map(range, by)):
        phase = found[:, :, row :: by[0], column :: by[1]]
        (top, first_row), (left, first_column) = divmod(row + padding[0], by[0]), divmod(column + padding[1], by[1])
        taps = weight[:, :, first_row :: by[0], first_column :: by[1]].contiguous()
        if taps.numel() == 0:
            phase.zero_()
            continue
        height, width = (length + more - 1 for length, more in zip(gradient.shape[2:], taps.shape[2:], strict=True))
        unread = torch.empty((*image.shape[:2], height, width), dtype=gradient.dtype, memory_format=torch.channels_last)
        whole = _backward(gradient, unread, taps, alone, 0)
        seen = whole[:, :, top : top + phase.shape[2], left : left + phase.shape[3]]
        if seen.shape != phase.shape:
            phase.zero_()  # No window reaches what is beyond.
        phase[:, :, : seen.shape[2], : seen.shape[3]] = seen
    return found


def _whole(gradient: Tensor, image: Tensor, weight: Tensor, shape: _Shape) -> Tensor:
    if _skips_pixels(weight, shape):
        image, shape = image[:, :, :: shape.stride[0], :: shape.stride[1]], shape._replace(stride=(1, 1))
    return _backward(gradient, image, weight, shape, 1)


def _in_strips(gradient: Tensor, image: Tensor, weight: Tensor, shape: _Shape) -> Tensor:
    """The weights' gradient, three columns of taps at a time: those of the image moved sideways, without padding."""
    width, (down, across) = weight.shape[3], shape.padding
    if width <= STRIP or image.shape[3] < width - across:  # So narrow an image has no columns to cut off.
        return _whole(gradient, image, weight, shape)
    found = torch.empty_like(weight)
    for start in range(0, width, STRIP):
        end = min(start + STRIP, width)
        moved = torch.nn.functional.pad(image, (across - start, across - (width - end)))  # Below zero it cuts off.
        strip = weight[:, :, :, start:end].contiguous()
        found[:, :, :, start:end] = _whole(gradient, moved, strip, shape._replace(padding=(down, 0)))
    return found


def _backward(gradient: Tensor, image: Tensor, weight: Tensor, shape: _Shape, which: int) -> Tensor:
    """convolution_backward of the image (0) or of the weights (1)."""
    mask = [which == 0, which == 1, False]
    stride, padding, dilation, groups = shape
    found = torch.ops.aten.convolution_backward(
        gradient, image, weight, None, stride, padding, dilation, False, [0, 0], groups, mask
    )
    return cast(Tensor, found[which])
