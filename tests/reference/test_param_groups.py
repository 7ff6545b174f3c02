"""Every trainable parameter has exactly one group, and one optimiser step moves each layer by its own rate."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

from components.finetune.param_groups import (
    STAGES,
    check_cover,
    exempt_from_decay,
    layer_decay_groups,
    stage_groups,
    stages_of,
)
from components.interchange.errors import BadInput

MULTIPLIERS = (0.01, 0.1, 1.0, 10.0)
SMALL = ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"]
Grouping = Callable[[nn.Module], list[dict[str, object]]]
POLICIES: dict[str, Grouping] = {
    "stages": lambda model: stage_groups(model, 1e-3, MULTIPLIERS, 0.05),
    "layer-decay": lambda model: layer_decay_groups(model, 1e-3, 0.5, 10.0, 0.05),
}


def without_memory(backbone: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(backbone, num_classes=3)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "backbone", ["resnet18", "resnet50", "efficientnet_b0", "tf_efficientnet_lite0", "vit_base_patch16_224"]
)
def test_every_trainable_parameter_is_in_exactly_one_named_group(backbone: str, policy: str) -> None:
    model = without_memory(backbone)
    groups = POLICIES[policy](model)
    found = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters())
    assert all({"name", "params", "lr", "weight_decay"} == group.keys() for group in groups)
    assert len({group["name"] for group in groups}) == len(groups)


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("resnet18", {"conv1": "early", "layer2": "early", "layer3": "middle", "layer4": "late", "fc": "head"}),
        ("resnet50", {"bn1": "early", "layer1": "early", "layer3": "middle", "layer4": "late", "fc": "head"}),
        (
            "tf_efficientnet_lite0",
            {
                "conv_stem": "early",
                "blocks.2": "early",
                "blocks.3": "middle",
                "blocks.4": "middle",
                "blocks.5": "late",
                "conv_head": "late",
                "bn2": "late",
                "classifier": "head",
            },
        ),
        ("efficientnet_b0", {"blocks.2": "early", "blocks.3": "middle", "blocks.6": "late", "classifier": "head"}),
        (
            "vit_base_patch16_224",
            {
                "cls_token": "early",
                "pos_embed": "early",
                "patch_embed": "early",
                "blocks.3": "early",
                "blocks.4": "middle",
                "blocks.7": "middle",
                "blocks.8": "late",
                "norm": "late",
                "head": "head",
            },
        ),
        ("mobilenetv3_large_100", {"conv_head": "late", "classifier": "head"}),
        ("convnext_tiny", {"stem": "early", "stages.3": "late", "head.norm": "late", "head.fc": "head"}),
        ("rdnet_tiny", {"stem": "early", "dense_stages.3": "middle", "dense_stages.6": "late", "head.fc": "head"}),
        (
            "caformer_s18",
            {
                "stem": "early",
                "stages.1": "early",
                "stages.2": "middle",
                "stages.3": "late",
                "head.norm": "late",
                "head.fc.fc1": "late",
                "head.fc.fc2": "head",
            },
        ),
        ("pit_ti_224", {"pos_embed": "early", "transformers.1": "middle", "norm": "late", "head": "head"}),
        ("csatv2", {"stem_dct": "early", "stages.0": "early", "stages.2": "middle", "head.fc": "head"}),
    ],
)
def test_stages_follow_the_depth(backbone: str, expected: dict[str, str]) -> None:
    model = without_memory(backbone)
    stages = stages_of(model)
    for module, stage in expected.items():
        found = {of for name, of in stages.items() if name == module or name.startswith(f"{module}.")}
        assert found == {stage}, module
    assert stages.keys() >= model.state_dict().keys()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("backbone", SMALL)
def test_one_sgd_step_moves_every_layer_by_its_own_rate(backbone: str, policy: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(backbone, num_classes=3)
    stages, before = stages_of(model), {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = POLICIES[policy](model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD([{**group, "weight_decay": 0.0} for group in groups]).step()
    rates = {name: (before[name] - p.detach()).mean().item() for name, p in model.named_parameters()}
    if policy == "stages":
        for name, rate in rates.items():
            assert rate == pytest.approx(1e-3 * MULTIPLIERS[STAGES.index(stages[name])], rel=1e-2), name
        return
    by_stage = {stage: [rate for name, rate in rates.items() if stages[name] == stage] for stage in STAGES}
    assert max(by_stage["early"]) < min(by_stage["late"]) < min(by_stage["head"])
    assert max(by_stage["late"]) == pytest.approx(1e-3, rel=1e-2)
    assert by_stage["head"] == pytest.approx([1e-2, 1e-2], rel=1e-2)


def test_layer_decay_is_the_ratio_of_neighbours() -> None:
    groups = layer_decay_groups(without_memory("test_vit"), 1e-3, 0.5, 10.0, 0.05)
    rates = sorted({group["lr"] for group in groups})
    assert rates == pytest.approx([1e-3 * 0.5**depth for depth in range(6, -1, -1)] + [1e-2])


@pytest.mark.parametrize("backbone", SMALL)
def test_norms_biases_and_position_embeddings_do_not_decay(backbone: str) -> None:
    model = without_memory(backbone)
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in stage_groups(model, 1e-3, MULTIPLIERS, 0.05):
        names = [named[id(parameter)] for parameter in group["params"]]
        exempt = [name.endswith(".bias") or "norm" in name or "bn" in name or "pos_embed" in name for name in names]
        assert not any(exempt) or group["weight_decay"] == 0, names
        assert group["weight_decay"] in (0, 0.05)
    assert "pos_embed" in exempt_from_decay(without_memory("test_vit"))
    decaying = {id(p) for g in stage_groups(model, 1e-3, MULTIPLIERS, 0.05) if g["weight_decay"] for p in g["params"]}
    head = timm.create_model(backbone).pretrained_cfg["classifier"]
    assert id(model.get_parameter(f"{head}.weight")) in decaying


def test_a_parameter_outside_the_groups_is_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    first = {"name": "first", "params": list(model[0].parameters()), "lr": 1.0, "weight_decay": 0.0}
    with pytest.raises(ValueError, match=r"2 of 4 trainable parameters are in no param group: 1\.weight, 1\.bias"):
        check_cover(model, [first])
    both = {"name": "both", "params": list(model.parameters()), "lr": 1.0, "weight_decay": 0.0}
    with pytest.raises(ValueError, match=r"in several param groups: 0\.weight, 0\.bias"):
        check_cover(model, [first, both])
    model[0].requires_grad_(False)
    with pytest.raises(ValueError, match=r"frozen, but in a param group: 0\.weight, 0\.bias"):
        check_cover(model, [both])


def test_a_model_of_two_blocks_has_no_three_stages() -> None:
    model = timm.create_model("test_vit", depth=2, num_classes=3)
    with pytest.raises(BadInput, match="has 2 blocks, and three stages need at least three"):
        stages_of(model)
