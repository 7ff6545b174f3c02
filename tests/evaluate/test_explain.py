"""Heat maps point at what spoke for the class, for convnets and transformers."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from components.evaluate.explain import heat_maps, side_by_side
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(
    resize_short_px=64, interpolation="bicubic", crop_px=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)


class LooksForRed(nn.Module):
    """A convnet by hand: a feature map of redness, and a head that takes its mean; timm's interface."""

    num_features = 2

    def forward_features(self, images_NCHW):
        red = torch.relu(images_NCHW[:, :1] - images_NCHW[:, 2:])
        return nn.functional.avg_pool2d(torch.cat([red, torch.zeros_like(red)], dim=1), 8)

    def forward_head(self, features_NChw):
        return features_NChw.mean(dim=(2, 3))


def with_a_red_square():
    pixels_NHWC = np.full((1, 64, 64, 3), 128, np.uint8)
    pixels_NHWC[0, 40:56, 8:24] = (255, 0, 0)
    return pixels_NHWC


def test_grad_cam_is_warm_where_the_evidence_is():
    heat_NHW = heat_maps(PixelsToLogits(LooksForRed(), PREPROCESSING), with_a_red_square(), torch.device("cpu"))

    assert heat_NHW.shape == (1, 64, 64)
    assert heat_NHW.max() == 1.0
    row, column = np.unravel_index(heat_NHW[0].argmax(), (64, 64))
    assert 40 <= row < 56
    assert 8 <= column < 24
    assert heat_NHW[0, :32, 32:].max() == 0


def test_features_in_several_parts_are_explained_by_the_pixels():
    class InParts(LooksForRed):
        """As CrossViT has them."""

        def forward_features(self, images_NCHW):
            return [super().forward_features(images_NCHW), images_NCHW]

        def forward_head(self, features):
            return super().forward_head(features[0])

    heat_NHW = heat_maps(PixelsToLogits(InParts(), PREPROCESSING), with_a_red_square(), torch.device("cpu"))

    row, column = np.unravel_index(heat_NHW[0].argmax(), (64, 64))
    assert 32 <= row < 64
    assert column < 32


def test_an_image_without_evidence_stays_cold():
    grey_NHWC = np.full((1, 64, 64, 3), 128, np.uint8)

    assert heat_maps(PixelsToLogits(LooksForRed(), PREPROCESSING), grey_NHWC, torch.device("cpu")).max() == 0


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_every_family_has_a_map_that_is_the_same_again(backbone):
    torch.manual_seed(0)
    model = timm.create_model(backbone, num_classes=3, **({"img_size": 64} if "vit" in backbone else {}))
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3)).astype(np.uint8)
    network = PixelsToLogits(model, PREPROCESSING)

    heat_NHW = heat_maps(network, pixels_NHWC, torch.device("cpu"))

    assert heat_NHW.shape == (9, 64, 64)
    assert np.isfinite(heat_NHW).all()
    assert heat_NHW.min() >= 0
    assert (heat_NHW == heat_maps(network, pixels_NHWC, torch.device("cpu"))).all()


def test_the_picture_stands_beside_its_heat():
    pixels_HWC = with_a_red_square()[0]

    both = side_by_side(pixels_HWC, np.zeros((64, 64), np.float32))

    assert both.shape == (64, 132, 3)
    assert (both[:, :64] == pixels_HWC).all()
    assert (both[:, 68:] == pixels_HWC).all()
