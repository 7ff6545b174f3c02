"""Heads that are linear in the features: what is fitted is what the classifier answers."""

import pytest
import timm
import torch
from timm.models.metaformer import MetaFormer
from torch import nn

from components.feature_extraction.heads import headless, linear_heads, write
from components.feature_extraction.linear_probe import LinearHead
from components.interchange.errors import BadInput


@pytest.mark.parametrize(
    ("backbone", "num_heads"),
    [
        ("test_resnet", 1),
        ("dla46x_c", 1),
        ("resnetv2_18", 1),
        ("deit_tiny_distilled_patch16_224", 2),
        ("swiftformer_xs", 2),
        ("repvit_m1", 2),
        ("cpubone_nano", 1),
    ],
)
def test_the_classifier_answers_with_what_was_fitted(backbone: str, num_heads: int) -> None:
    torch.manual_seed(0)
    model = timm.create_model(backbone, num_classes=3).eval()
    heads = linear_heads(model, 224)
    assert len(heads) == num_heads
    fitted = LinearHead(torch.randn(3, heads[0].get_parameter("weight").shape[1]), torch.randn(3))
    write(model, heads, fitted, 224)
    for head in heads:
        assert torch.equal(head.get_parameter("weight").flatten(1), fitted.weight_CD)


def test_features_are_those_above_a_hidden_layer() -> None:
    torch.manual_seed(0)
    model = MetaFormer(num_classes=3, depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), use_mlp_head=True).eval()  # CAFormer's.
    model.pretrained_cfg = timm.get_pretrained_cfg("caformer_s18").to_dict()
    images_NCHW = torch.randn(2, 3, 64, 64)
    (head,) = linear_heads(model, 64)
    with torch.no_grad():
        with headless(model):
            features_ND = model(images_NCHW)
        assert torch.equal(head(features_ND), model(images_NCHW)) and features_ND.shape == (2, 4 * 8)


def test_heads_that_see_features_of_their_own_are_refused() -> None:
    with pytest.raises(BadInput, match=r"EfficientViM has 4 heads, each with features of its own.*--strategy finetune"):
        linear_heads(timm.create_model("efficientvim_m1", num_classes=3).eval(), 224)


def test_a_classifier_that_changes_its_heads_answers_is_refused() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)
            self.pretrained_cfg = {"classifier": "fc"}

        def forward_features(self, images_NCHW: torch.Tensor) -> torch.Tensor:
            return images_NCHW.mean((2, 3))

        def forward_head(self, features_ND: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
            return features_ND if pre_logits else 2 * self.fc(features_ND)

        def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
            return self.forward_head(self.forward_features(images_NCHW))

    with pytest.raises(BadInput, match="Scaled does not answer with its head's logits alone"):
        linear_heads(Scaled(), 8)


def test_a_head_that_is_no_linear_layer_is_refused() -> None:
    model = timm.create_model("test_resnet", num_classes=3).eval()
    model.fc = nn.Sequential(nn.Linear(model.num_features, 3))
    with pytest.raises(BadInput, match=r"ResNet has no linear head \(found Sequential\)"):
        linear_heads(model, 32)
