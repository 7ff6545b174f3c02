"""Random resized crops, rotation, shear and shift of whole batches: one affine map an image, one resampling.

Maps are torch's: from output to input coordinates, both in [-1, 1] over the image, x before y.
Legend: N images, H height, W width, C channels.
"""

import math
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.finetune.scaling import scaled

Operation = Literal["rotation", "shear_x", "shear_y", "shift_x", "shift_y"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
# At full strength: degrees, slopes and shares of the image; those of RandAugment's code.
LIMITS = {"rotation": math.radians(30), "shear_x": 0.3, "shear_y": 0.3, "shift_x": 0.45, "shift_y": 0.45}
# Share of the area and aspect ratio of a random part. Shares start higher than the 0.08 of training from scratch.
AREA, RATIO = (0.35, 1.0), (3 / 4, 4 / 3)
EPSILON = 1e-6  # Of rounding, in maps.


def parts_of_window(resized: bool, scale: float, num_images: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The part of its window that each image shows: x, y of the centre, half width, half height, in [-1, 1].

    `resized` draws area and aspect ratio; otherwise every part has `scale` times the window's side. Places are even.
    """
    places_N2 = rng.uniform(-1, 1, (num_images, 2))
    if resized:
        area_N = rng.uniform(*AREA, num_images)
        ratio_N = np.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1]), num_images))
        halves_N2 = np.minimum(np.stack([np.sqrt(area_N * ratio_N), np.sqrt(area_N / ratio_N)], axis=1), 1.0)
    else:
        halves_N2 = np.full((num_images, 2), scale)
    return np.concatenate([places_N2 * (1 - halves_N2), halves_N2], axis=1)


def maps(
    parts_N4: NDArray[np.float64], flips_2N: NDArray[np.bool_], magnitudes_NK: NDArray[np.float64]
) -> NDArray[np.float32]:
    """float32 [N, 2, 3]: each part, mirrored (left to right, top to bottom), turned, sheared and shifted about its
    centre by magnitudes in [-1, 1] in the order of OPERATIONS.
    """
    angle_N, shear_x_N, shear_y_N, shift_x_N, shift_y_N = (
        magnitudes_NK * np.array([LIMITS[name] for name in OPERATIONS])
    ).T
    one_N = np.ones(len(parts_N4))
    turn_N22 = _matrices(np.cos(angle_N), -np.sin(angle_N), np.sin(angle_N), np.cos(angle_N))
    shear_N22 = _matrices(one_N, shear_x_N, shear_y_N, one_N)
    mirror_N2 = np.where(flips_2N, -1.0, 1.0).T
    maps_N23 = np.empty((len(parts_N4), 2, 3), np.float32)
    maps_N23[:, :, :2] = parts_N4[:, 2:, None] * (turn_N22 @ shear_N22) * mirror_N2[:, None, :]
    maps_N23[:, :, 2] = parts_N4[:, :2] + 2 * parts_N4[:, 2:] * np.stack([shift_x_N, shift_y_N], axis=1)
    return maps_N23


def _matrices(*entries_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(entries_N, axis=1).reshape(-1, 2, 2)


def warped(pixels_NHWC: Tensor, maps_N23: Tensor, crop_px: int) -> Tensor:
    """Resample, bilinear, mirrored beyond the border: float [N, crop_px, crop_px, 3] in the range of the input.

    On a CPU, bytes that are only cut, scaled and mirrored stay bytes: rounded, in a fifth of the time.
    """
    if pixels_NHWC.device.type == "cpu" and pixels_NHWC.dtype == torch.uint8 and _only_scaled(maps_N23):
        return torch.from_numpy(scaled(pixels_NHWC.numpy(), maps_N23.numpy(), crop_px))
    images_NCHW = pixels_NHWC.permute(0, 3, 1, 2).float()
    grid_NHW2 = nn.functional.affine_grid(maps_N23, [len(maps_N23), 3, crop_px, crop_px], align_corners=False)
    resampled_NCHW = nn.functional.grid_sample(
        images_NCHW, grid_NHW2, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return resampled_NCHW.permute(0, 2, 3, 1).contiguous(memory_format=torch.contiguous_format)


def _only_scaled(maps_N23: Tensor) -> bool:
    """Whether all maps show an upright part that lies within the image, mirrored or not."""
    halves_N2 = torch.stack([maps_N23[:, 0, 0], maps_N23[:, 1, 1]], dim=1).abs()
    upright = not maps_N23[:, 0, 1].any() and not maps_N23[:, 1, 0].any()
    return upright and bool((maps_N23[:, :, 2].abs() + halves_N2 <= 1 + EPSILON).all())
