"""Where a classifier looked: a heat map an image, for the class that it predicted.

Convnets: Grad-CAM of the last feature map (Selvaraju et al. 2017, arXiv:1610.02391). Transformers: gradient times input
of the pixels, summed over each patch; the last layer's patch tokens do not reach a class token's logit any more.
Legend: N images, H height, W width, C channels, h and w of a feature map.
"""

from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from numpy.typing import NDArray
from torch import Tensor

from components.interchange.pixels_to_logits import PixelsToLogits

HEAT = "inferno"
MOST_OPAQUE = 0.65
PATCH_PX = 16
IMAGES_AT_ONCE = 8
GAP_PX = 4


def heat_maps(network: PixelsToLogits, pixels_NHWC: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """Heat [N, H, W] on [0, 1], the warmest spot of each image at 1 (all 0 where nothing spoke for the class)."""
    network.eval().to(device)
    parts = [
        _heat(network, part.to(device)).cpu().numpy()
        for part in torch.split(torch.from_numpy(pixels_NHWC), IMAGES_AT_ONCE)
    ]
    found: NDArray[np.float32] = np.concatenate(parts)
    return found


def _heat(network: PixelsToLogits, pixels_NHWC: Tensor) -> Tensor:
    images_NCHW = network.normalise(pixels_NHWC).requires_grad_()
    model = cast(Any, network.model)
    features = model.forward_features(images_NCHW)
    logits_NC = model.forward_head(features)
    is_map = isinstance(features, Tensor) and features.ndim == 4 and features.shape[1] == model.num_features
    of = features if is_map else images_NCHW
    (gradient,) = torch.autograd.grad(logits_NC.max(dim=1).values.sum(), of)
    heat_Nhw = _grad_cam(features, gradient) if is_map else _patches(images_NCHW, gradient)
    size = images_NCHW.shape[-2:]
    heat_NHW = F.interpolate(heat_Nhw[:, None], size, mode="bilinear", align_corners=False)[:, 0].detach().float()
    peak_N11 = heat_NHW.amax(dim=(1, 2), keepdim=True)
    return torch.where(peak_N11 > 0, heat_NHW / peak_N11, 0.0)


def _grad_cam(features_NChw: Tensor, gradient_NChw: Tensor) -> Tensor:
    weights_NC11 = gradient_NChw.mean(dim=(2, 3), keepdim=True)
    return F.relu((weights_NC11 * features_NChw).sum(dim=1))


def _patches(images_NCHW: Tensor, gradient_NCHW: Tensor) -> Tensor:
    spoken_NHW = (images_NCHW * gradient_NCHW).sum(dim=1).abs()
    patch = min(PATCH_PX, *spoken_NHW.shape[-2:])
    return F.avg_pool2d(spoken_NHW[:, None], patch)[:, 0]


def side_by_side(pixels_HWC: NDArray[np.uint8], heat_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image, and beside it the image under its heat, as one picture [H, 2 W + GAP_PX, 3]."""
    colours_HWC = colormaps[HEAT](heat_HW)[..., :3] * 255
    opaque_HW1 = MOST_OPAQUE * heat_HW[..., None]
    under = np.rint(pixels_HWC * (1 - opaque_HW1) + colours_HWC * opaque_HW1).astype(np.uint8)
    gap = np.full((len(pixels_HWC), GAP_PX, 3), 255, np.uint8)
    return np.concatenate([pixels_HWC, gap, under], axis=1)
