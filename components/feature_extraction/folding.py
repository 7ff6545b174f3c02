"""BatchNorm of a frozen backbone worked into the convolutions before it: the same features in less time.

With fixed statistics BatchNorm is a factor and a summand a channel, which a convolution's weights and bias can take
over. The backbone that is saved and served stays as it is; features differ by rounding (1e-5 of the largest).
Legend: N images, C channels, H height, W width.
"""

import copy
import logging
from collections import Counter
from typing import Any, cast

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

TOLERANCE = 1e-3  # Of the largest feature. What rounds is far below, what was folded wrongly far above.
log = logging.getLogger("graft")


def folded(model: nn.Module, crop_px: int) -> nn.Module:
    """A copy of a timm classifier, in eval mode, whose `forward_features` gives the same; `model` where none does."""
    model.eval()
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return model
    example_NCHW = torch.randn(1, 3, crop_px, crop_px, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(model)
    with torch.no_grad():  # Parameters made in inference mode stay such, and no GPU takes them.
        for conv, norm in _pairs(other, example_NCHW):
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            _replace(other, norm, nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity())
        expected, found = (cast(Any, one).forward_features(example_NCHW) for one in (model, other))
    if (found - expected).abs().max() > TOLERANCE * expected.abs().max():
        log.info("folding=off: it changes what %s gives", type(model).__name__)
        return model
    return other


def _pairs(model: nn.Module, example_NCHW: Tensor) -> list[tuple[nn.Conv2d, Any]]:
    """Convolutions and the BatchNorm that reads what they give, each called once."""
    makers: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, Any]] = []
    calls: Counter[nn.Module] = Counter()

    def see(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        calls[module] += 1
        if isinstance(module, nn.Conv2d):
            makers[id(output)] = (module, output)  # Kept, so that no other tensor gets its id.
        elif id(inputs[0]) in makers:
            pairs.append((makers[id(inputs[0])][0], module))

    seen = [module for module in model.modules() if type(module) in (nn.BatchNorm2d, BatchNormAct2d)]
    seen += [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_hook(see) for module in seen]
    cast(Any, model).forward_features(example_NCHW)
    for hook in hooks:
        hook.remove()
    readers = Counter(conv for conv, _ in pairs)
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == readers[pair[0]] == 1]


def _replace(model: nn.Module, module: nn.Module, by: nn.Module) -> None:
    name = next(name for name, found in model.named_modules() if found is module)
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, by)
