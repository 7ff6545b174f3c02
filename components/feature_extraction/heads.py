"""Heads of timm classifiers that are linear in the features, and can be fitted to the optimum.

One layer, a convolution of one tap (ResNetV2), or the several of a backbone that was distilled, whose answers are
averaged: those get equal weights. Legend: N images, D features, C classes.
"""

from typing import Any, cast

import torch
from torch import nn

from components.feature_extraction.linear_probe import LinearHead
from components.interchange.errors import BadInput

TOLERANCE = 1e-2  # Of the largest logit; what a GPU rounds in its own formats is below.


def linear_heads(model: nn.Module) -> list[nn.Module]:
    """The linear layers of a timm classifier's head; BadInput where it is something else."""
    found = cast(Any, model).get_classifier()
    heads = list(found) if isinstance(found, tuple | list) else [found]
    if not heads or not all(_is_linear(head) for head in heads):
        raise _refused(model, f"has no linear head (found {', '.join(type(head).__name__ for head in heads)})")
    return heads


def write(model: nn.Module, fitted: LinearHead, crop_px: int) -> None:
    """Put a fitted head into a classifier in eval mode; BadInput where its logits are not those of the head."""
    images_NCHW = torch.randn(2, 3, crop_px, crop_px, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for head in linear_heads(model):
            weight = head.get_parameter("weight")
            weight.copy_(fitted.weight_CD.view_as(weight))
            head.get_parameter("bias").copy_(fitted.bias_C)
        classifier, images_NCHW = cast(Any, model), images_NCHW.to(fitted.bias_C.device)
        model.to(images_NCHW.device)
        features_ND = classifier.forward_head(classifier.forward_features(images_NCHW), pre_logits=True)
        expected_NC, found_NC = fitted.logits(features_ND), classifier(images_NCHW)
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
