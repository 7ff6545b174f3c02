"""Parts of images scaled to one size, on the CPU, as bytes.

Legend: N images, H height, W width, C 3 channels.
"""

import numpy as np
from cykooz_resizer import Algorithm, CropBox, FilterType, ImageData, PixelType, ResizeOptions, Resizer
from numpy.typing import NDArray

from components.finetune.mirror import mirrored
from components.interchange.cores import num_cores, threads


def scaled(pixels_NHWC: NDArray[np.uint8], maps_N23: NDArray[np.float32], crop_px: int) -> NDArray[np.uint8]:
    """What `grid_sample` gives, rounded, by the Rust crate fast_image_resize: SIMD, and several images at a time."""
    scaled_NHWC = np.empty((len(pixels_NHWC), crop_px, crop_px, 3), np.uint8)
    size_2 = np.array(pixels_NHWC.shape[2:0:-1])  # Width before height, as in the maps.
    halves_N2 = np.stack([maps_N23[:, 0, 0], maps_N23[:, 1, 1]], axis=1)
    spans_N2 = np.minimum(np.abs(halves_N2) * size_2, size_2)
    corners_N2 = np.clip((maps_N23[:, :, 2] - np.abs(halves_N2) + 1) / 2 * size_2, 0, size_2 - spans_N2)

    def scale(rows: range) -> None:
        resizer, options = Resizer(), ResizeOptions(use_alpha=False)
        options.rust_options = options.rust_options.set_resize_alg(
            Algorithm.interpolation.value, FilterType.bilinear.value, 0
        )
        target = ImageData(crop_px, crop_px, PixelType.U8x3)
        for row in rows:
            options.crop_box = CropBox(*corners_N2[row].tolist(), *spans_N2[row].tolist())
            source = ImageData(*size_2.tolist(), PixelType.U8x3, pixels_NHWC[row].tobytes())
            resizer.resize(source, target, options)
            scaled_NHWC[row] = np.frombuffer(target.rust_image.buffer(), np.uint8).reshape(crop_px, crop_px, 3)

    parts = [range(part, len(pixels_NHWC), num_cores()) for part in range(num_cores())]
    list(threads().map(scale, parts))
    return mirrored(scaled_NHWC, *(halves_N2.T < 0))
