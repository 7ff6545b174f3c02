"""Features of a frozen backbone: every image once, no augmentation, kept in memory.

Legend: N images, D features, H height, W width, C 3 channels.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.feature_extraction.heads import headless
from components.interchange.dataset import Split
from components.interchange.errors import BadInput
from components.interchange.inference import forward
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.progress import progress


def extract(model: PixelsToLogits, split: Split, crop_px: int, batch_size: int, device: torch.device) -> Tensor:
    """What the head would see of each image's centre crop: float32 [N, D] on `device`, in eval and inference mode.

    BadInput where that is no finite number.
    """
    model.eval().to(device)
    starts = range(0, len(split), batch_size)

    def crops() -> Iterator[NDArray[np.uint8]]:
        for start in progress(starts, f"features of {split.name}", unit=" batches"):
            yield split.center_crops(range(start, min(start + batch_size, len(split))), crop_px)

    with headless(model.model):
        features_ND = torch.cat(forward(model, crops(), device)).float()
    lost = int((~features_ND.isfinite().all(dim=1)).sum())
    if lost:
        raise BadInput(
            f"the backbone's features of {lost} of {len(split)} {split.name} images are no finite numbers: its weights "
            "are damaged, or are not those of this backbone. Take others (--weights)."
        )
    return features_ND
