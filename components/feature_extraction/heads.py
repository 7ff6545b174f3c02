"""Heads of timm classifiers that are linear in the features, and can be fitted to the optimum.

One layer, a convolution of one tap (ResNetV2), or the several of a backbone that was distilled, whose answers are
averaged: those get equal weights. Legend: N images, D features, C classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from components.feature_extraction.linear_probe import LinearHead
from components.interchange.errors import BadInput
from components.interchange.pretrained import head_names

TOLERANCE = 1e-2  # Of the largest logit; what a GPU rounds in its own formats is below.


def linear_heads(model: nn.Module, crop_px: int) -> list[nn.Module]:
    """The linear layers of a timm classifier's head, with random weights; BadInput where its logits are not theirs."""
    modules = dict(model.named_modules())
    # A new head may have done away with that of a distillation, which the names still tell of.
    heads = [modules[name] for name in head_names(model) if name in modules]
    if not heads or not all(_is_linear(head) for head in heads):
        raise _refused(model, f"has no linear head (found {', '.join(type(head).__name__ for head in heads)})")
    if len({head.get_parameter("weight").shape for head in heads}) > 1:
        raise _refused(model, f"has {len(heads)} heads, each with features of its own")
    generator = torch.Generator().manual_seed(0)
    weight_CD = torch.randn(heads[0].get_parameter("weight").shape[:2], generator=generator)
    write(model, heads, LinearHead(weight_CD, torch.randn(len(weight_CD), generator=generator)), crop_px)
    return heads


@contextmanager
def headless(model: nn.Module) -> Iterator[None]:
    """A timm classifier that answers with the features its head sees, until the context ends.

    timm's own `pre_logits` may mean those before further layers (CAFormer's hidden layer, LeViT's BatchNorm).
    """
    names = head_names(model)
    heads = {name: module for name, module in model.named_modules() if name in names}
    for name in heads:
        model.set_submodule(name, nn.Identity())
    try:
        yield
    finally:
        for name, head in heads.items():
            model.set_submodule(name, head)


def write(model: nn.Module, heads: Sequence[nn.Module], fitted: LinearHead, crop_px: int) -> None:
    """Put what was fitted into the heads of a classifier in eval mode; BadInput where its logits are not theirs."""
    images_NCHW = torch.randn(2, 3, crop_px, crop_px, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for head in heads:
            weight = head.get_parameter("weight")
            weight.copy_(fitted.weight_CD.view_as(weight))
            head.get_parameter("bias").copy_(fitted.bias_C)
        images_NCHW = images_NCHW.to(fitted.bias_C.device)
        model.to(images_NCHW.device)
        found_NC = model(images_NCHW)
        with headless(model):
            expected_NC = fitted.logits(model(images_NCHW))
    if (found_NC - expected_NC).abs().max() > TOLERANCE * expected_NC.abs().max():
        raise _refused(model, "does not answer with its head's logits alone")


def _is_linear(head: nn.Module) -> bool:
    one_tap = isinstance(head, nn.Conv2d) and head.kernel_size == (1, 1) and head.groups == 1
    return (one_tap or isinstance(head, nn.Linear)) and head.bias is not None


def _refused(model: nn.Module, why: str) -> BadInput:
    return BadInput(
        f"{type(model).__name__} {why}, which feature_extraction fits. Take another --backbone, or leave this step "
        "out: graft run --strategy finetune."
    )
