"""Differential learning rates: which parameter belongs to which stage, and the optimiser's groups with explicit rates.

The rule for stages, for any timm classifier: the head is what the weights' `classifier` names. timm's coarse grouping
orders the rest (or its list of features, where it has none): the stem, then the blocks. The blocks fall into three runs
of almost equal length, the first ones longer where they do not divide evenly, and the stem goes with the first:

    backbone               early               middle       late
    resnet18, resnet50     stem, layer1-2      layer3       layer4
    efficientnet_b0, b3    stem, blocks.0-2    blocks.3-4   blocks.5-6, conv_head
    tf_efficientnet_lite0  stem, blocks.0-2    blocks.3-4   blocks.5-6, conv_head
    vit_base_patch16_224   stem, blocks.0-3    blocks.4-7   blocks.8-11, norm

Layers of the backbone that timm leaves without a group (a last norm or convolution) go with the last block.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from timm.models import group_parameters
from torch import Tensor, nn

from components.interchange.errors import BadInput, listed
from components.interchange.pretrained import head_names

Stage = Literal["early", "middle", "late", "head"]
STAGES: tuple[Stage, ...] = ("early", "middle", "late", "head")
ParamGroup = dict[str, Any]


def stages_of(model: nn.Module) -> dict[str, Stage]:
    """The stage of every parameter and of every buffer in the state dict, by name."""
    layers, num_layers = _layers_of(model, coarse=True)
    num_blocks = num_layers - 1
    if num_blocks < 3:
        raise BadInput(f"{type(model).__name__} has {num_blocks} blocks, and three stages need at least three.")
    stage_of_layer: list[Stage] = ["early"]
    for stage, blocks in zip(STAGES[:3], np.array_split(np.arange(num_blocks), 3), strict=True):
        stage_of_layer += [stage] * len(blocks)
    stages: dict[str, Stage] = {
        name: "head" if layer is None else stage_of_layer[layer] for name, layer in layers.items()
    }
    for name in model.state_dict():
        if name not in stages:
            stages[name] = _nearest_owner(name, stages)
    return stages


def _layers_of(model: nn.Module, *, coarse: bool) -> tuple[dict[str, int | None], int]:
    """Layer index of every parameter, 0 the stem, None the head; and the number of layers without the head."""
    grouped = _grouped(model, coarse)
    heads = tuple(f"{name}." for name in head_names(model))
    # timm puts what its rules do not name after the last block, where the head is as well.
    unnamed = min((layer for name, layer in grouped.items() if name.startswith(heads)), default=len(grouped))
    layers = {name: None if name.startswith(heads) else min(layer, unnamed - 1) for name, layer in grouped.items()}
    return layers, 1 + max(layer for layer in layers.values() if layer is not None)


def _grouped(model: Any, coarse: bool) -> dict[str, int]:
    """Layer index of every parameter by timm's own rules, from the stem to what they do not name."""
    if not hasattr(model, "group_matcher"):
        return _grouped_by_features(model)
    try:
        matcher = model.group_matcher(coarse=coarse)
    except AssertionError:  # RDNet knows fine groups alone, and says so by this.
        matcher = model.group_matcher(coarse=False)
    return cast(dict[str, int], group_parameters(model, matcher, reverse=True))


def _grouped_by_features(model: Any) -> dict[str, int]:
    """The same for a model without such rules (MetaFormer, PiT, CSATv2): its blocks are those that timm takes features
    of, and what is defined before them the stem.
    """
    blocks = [f"{feature['module']}." for feature in getattr(model, "feature_info", ())]
    names = [name for name, _ in model.named_parameters()]
    found = {name: number for name in names for number, block in enumerate(blocks, 1) if name.startswith(block)}
    if set(found.values()) != set(range(1, len(blocks) + 1)) or not found:
        raise BadInput(f"{type(model).__name__} cannot group its layers (timm's group_matcher). Take another backbone.")
    first = names.index(next(iter(found)))
    return {name: found.get(name, 0 if place < first else len(blocks) + 1) for place, name in enumerate(names)}


def _nearest_owner(buffer: str, stages: Mapping[str, Stage]) -> Stage:
    """The stage of the parameters in the smallest module around a buffer."""
    owner = buffer
    while owner:
        owner = owner.rpartition(".")[0]
        found = [stage for name, stage in stages.items() if name.startswith(f"{owner}.")]
        if found:
            return found[0]
    return "early"


def stage_groups(
    model: nn.Module, base_lr: float, multipliers: Sequence[float], weight_decay: float
) -> list[ParamGroup]:
    """Groups of the trainable parameters, a stage each: `base_lr` times that stage's multiplier."""
    stages = stages_of(model)
    rates = {stage: base_lr * multiplier for stage, multiplier in zip(STAGES, multipliers, strict=True)}
    named = {name: (stages[name], rates[stages[name]]) for name, _ in _trainable(model)}
    return _groups(model, named, weight_decay)


def layer_decay_groups(
    model: nn.Module, base_lr: float, layer_decay: float, head_multiplier: float, weight_decay: float
) -> list[ParamGroup]:
    """Groups of the trainable parameters, a layer each: the last layer of the backbone learns at `base_lr`, every
    layer before it at `layer_decay` times its successor's rate, and the new head at `head_multiplier` times `base_lr`.

    Layer-wise decay: Bao et al. 2021, BEiT (arXiv:2106.08254).
    """
    layers, num_layers = _layers_of(model, coarse=False)
    named = {}
    for name, _ in _trainable(model):
        layer = layers[name]
        if layer is None:
            named[name] = ("head", base_lr * head_multiplier)
        else:
            named[name] = (f"layer_{layer:02d}", base_lr * layer_decay ** (num_layers - 1 - layer))
    return _groups(model, named, weight_decay)


def _trainable(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _groups(model: nn.Module, named: Mapping[str, tuple[str, float]], weight_decay: float) -> list[ParamGroup]:
    exempt = exempt_from_decay(model)
    groups: dict[str, ParamGroup] = {}
    for name, parameter in _trainable(model):
        owner, lr = named[name]
        key = f"{owner}/no_decay" if name in exempt else f"{owner}/decay"
        empty = {"name": key, "params": [], "lr": lr, "weight_decay": 0.0 if name in exempt else weight_decay}
        groups.setdefault(key, empty)["params"].append(parameter)
    found = [groups[key] for key in groups]
    check_cover(model, found)
    return found


def exempt_from_decay(model: nn.Module) -> set[str]:
    """Parameters without weight decay: norms and biases, and what the model itself names, as position embeddings."""
    own: Iterable[str] = cast(Any, model).no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    small = {name for name, parameter in model.named_parameters() if parameter.ndim <= 1 or name.endswith(".bias")}
    return small | set(own)


def check_cover(model: nn.Module, groups: Sequence[ParamGroup]) -> None:
    """ValueError when a trainable parameter is in no group or in several, or a frozen one is in any."""
    uses = Counter(id(parameter) for group in groups for parameter in group["params"])
    trainable = _trainable(model)
    missing = [name for name, parameter in trainable if uses[id(parameter)] == 0]
    doubled = [name for name, parameter in trainable if uses[id(parameter)] > 1]
    frozen = [
        name for name, parameter in model.named_parameters() if not parameter.requires_grad and uses[id(parameter)]
    ]
    for names, fault in (
        (missing, "in no param group"),
        (doubled, "in several param groups"),
        (frozen, "frozen, but in a param group"),
    ):
        if names:
            raise ValueError(
                f"{len(names)} of {len(trainable)} trainable parameters are {fault}: {listed(names)}. "
                "The rule stands in components/finetune/param_groups.py."
            )


def modules_of(stages: Mapping[str, Stage]) -> dict[str, list[str]]:
    """The modules of each stage, two names deep, for the report: `{"early": ["blocks.0", "conv_stem"], ...}`."""
    owners = [(".".join(name.split(".")[:-1][:2]) or name, stage) for name, stage in stages.items()]
    return {stage: sorted({owner for owner, of in owners if of == stage}) for stage in STAGES}


def sizes(groups: Sequence[ParamGroup]) -> list[dict[str, Any]]:
    """One record a group for the report: name, peak lr, weight_decay, number of tensors and of values."""
    return [
        {
            "name": group["name"],
            "lr": group["lr"],
            "weight_decay": group["weight_decay"],
            "tensors": len(group["params"]),
            "parameters": sum(cast(Tensor, parameter).numel() for parameter in group["params"]),
        }
        for group in groups
    ]
