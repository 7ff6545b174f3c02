"""The model as it is trained, exported and served: normalisation is part of it.

Legend: N images, H height, W width, C channels (of images) or classes (of logits), R the numbers of a row (W * 3).
"""

from typing import cast

import torch
from torch import Tensor, nn

from components.interchange.normalisation import normalise_rows
from components.interchange.preprocessing import Preprocessing


class PixelsToLogits(nn.Module):
    """Raw pixels to logits: uint8 RGB [N, H, W, 3] in, [N, C] out. Normalisation is part of the model."""

    def __init__(self, model: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.preprocessing = preprocessing
        self.register_buffer("mean", 255 * torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels_NHWC: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] to normalised float [N, 3, H, W], in channels-last memory as it comes."""
        return normalised(pixels_NHWC, cast(Tensor, self.mean), cast(Tensor, self.std))

    def forward(self, pixels_NHWC: Tensor) -> Tensor:
        return cast(Tensor, self.model(self.normalise(pixels_NHWC)))


def normalised(pixels_NHWC: Tensor, mean_1C11: Tensor, std_1C11: Tensor) -> Tensor:
    """(pixels - mean) / std as float [N, 3, H, W] in channels-last memory.

    On a CPU by `normalise_rows`, bit for bit the same. Exporters see the plain expression.
    """
    exported = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    if exported or pixels_NHWC.device.type != "cpu":
        return (pixels_NHWC.permute(0, 3, 1, 2).float() - mean_1C11) / std_1C11
    num_images, height, width, channels = pixels_NHWC.shape
    rows_NHR = pixels_NHWC.detach().reshape(num_images, height, width * channels)
    mean_R, std_R = (each.detach().float().flatten().repeat(width).numpy() for each in (mean_1C11, std_1C11))
    images_NHR = torch.empty(rows_NHR.shape)
    normalise_rows(rows_NHR.numpy(), mean_R, std_R, images_NHR.numpy())
    return images_NHR.view(pixels_NHWC.shape).permute(0, 3, 1, 2)
