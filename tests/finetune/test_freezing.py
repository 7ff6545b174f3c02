"""Frozen stages do not change, buffers included; what is not frozen does."""

from typing import get_args

import pytest
import timm
import torch
from torch import nn

from components.finetune.freezing import freeze_stages, train_mode, untouchable
from components.finetune.param_groups import STAGES, stage_groups, stages_of
from components.finetune.spec import Freeze, FrozenBatchNorm
from components.interchange.state_dicts import state_digest


def two_steps(model: nn.Module, frozen_batchnorm: FrozenBatchNorm) -> None:
    """Two steps of AdamW, at rates that move every parameter that may move."""
    optimizer = torch.optim.AdamW(stage_groups(model, 1e-2, (1.0, 1.0, 1.0, 1.0), 0.05))
    train_mode(model, frozen_batchnorm)
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(torch.rand(4, 3, 32, 32) + 1), torch.tensor([0, 1, 2, 0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("frozen_batchnorm", get_args(FrozenBatchNorm))
@pytest.mark.parametrize("freeze", get_args(Freeze))
def test_only_stages_after_the_frozen_ones_change(freeze: Freeze, frozen_batchnorm: FrozenBatchNorm) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=3)
    stages = stages_of(model)
    frozen = STAGES[: STAGES.index(freeze) + 1] if freeze != "none" else ()
    freeze_stages(model, stages, freeze)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    proof = state_digest(untouchable(model, stages, freeze, frozen_batchnorm))
    two_steps(model, frozen_batchnorm)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    parameters = {name for name, _ in model.named_parameters()}
    assert changed & parameters == {name for name in parameters if stages[name] not in frozen}
    statistics = {name for name in before if name not in parameters}
    follow = {name for name in statistics if stages[name] not in frozen or frozen_batchnorm == "adapt"}
    assert changed & statistics == follow
    assert state_digest(untouchable(model, stages, freeze, frozen_batchnorm)) == proof


def test_a_frozen_parameter_has_no_gradient_and_no_place_in_the_optimiser() -> None:
    model = timm.create_model("test_vit", num_classes=3, img_size=32)
    stages = stages_of(model)
    freeze_stages(model, stages, "late")
    groups = stage_groups(model, 1e-3, (0.01, 0.1, 1.0, 10.0), 0.05)
    assert {group["name"] for group in groups} == {"head/decay", "head/no_decay"}
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"head.weight", "head.bias"}


def test_the_digest_of_frozen_tensors_notices_one_changed_statistic() -> None:
    model = timm.create_model("test_resnet", num_classes=3)
    stages = stages_of(model)
    proof = state_digest(untouchable(model, stages, "early", "frozen"))
    model.get_buffer("bn1.running_mean")[0] += 1e-3
    assert state_digest(untouchable(model, stages, "early", "frozen")) != proof
