"""What to do about classes of unequal size: weigh their losses, or draw them equally often (`sampling.py`)."""

import numpy as np
from numpy.typing import NDArray


def balancing_weights(labels_N: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """A weight a class, inverse to its number of images, and one on average over the images.

    Every class then counts as much as the others in the loss. A class without images has the weight of one image.
    """
    counts_C = np.maximum(np.bincount(labels_N, minlength=num_classes), 1)
    weights_C = 1 / counts_C
    balanced_C: NDArray[np.float64] = weights_C * len(labels_N) / weights_C[labels_N].sum()
    return balanced_C.astype(np.float32)
