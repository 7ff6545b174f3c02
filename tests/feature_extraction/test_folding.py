"""BatchNorm folded into convolutions gives the same features, and where it would not, nothing is folded."""

from typing import Any, cast

import pytest
import timm
import torch
from torch import nn

from components.feature_extraction.folding import folded
from components.interchange.state_dicts import state_digest


def with_statistics(model: nn.Module) -> nn.Module:
    """BatchNorm as if it had been trained: nothing of it does nothing."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                cast(torch.Tensor, tensor).data.normal_(0, 0.3, generator=generator)
            for tensor in (module.running_var, module.weight):
                cast(torch.Tensor, tensor).data.uniform_(0.5, 2, generator=generator)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet"])
def test_the_features_are_the_same_without_batchnorm(backbone: str) -> None:
    torch.manual_seed(0)
    model = with_statistics(timm.create_model(backbone, num_classes=3))
    before = state_digest(model.state_dict())
    quick = folded(model, 64)
    assert norms(model) > 5 and norms(quick) == 0
    assert not any(tensor.is_inference() for tensor in quick.state_dict().values())  # No GPU would take them.
    assert state_digest(model.state_dict()) == before
    images_NCHW = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        expected, found = (cast(Any, one).forward_features(images_NCHW) for one in (model, quick))
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


class Shared(nn.Module):
    """What the convolution gives is read beside BatchNorm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward_features(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        maps_NCHW = self.conv(images_NCHW)
        return cast(torch.Tensor, self.norm(maps_NCHW) + maps_NCHW)


def test_a_convolution_that_others_read_too_stays() -> None:
    model = with_statistics(Shared())
    assert folded(model, 16) is model and norms(model) == 1


def test_without_batchnorm_there_is_nothing_to_fold() -> None:
    model = timm.create_model("test_vit", num_classes=3)
    assert folded(model, 160) is model
