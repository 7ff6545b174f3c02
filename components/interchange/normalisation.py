"""Normalising on the CPU, some images at a time, which stay in the cache, by threads that wait for nobody: torch's meet
after every operation, and stall where another thread wants a core.

Legend: N images, H height, R the numbers of a row (W * 3).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.interchange.cores import threads

AT_ONCE, FEW = 4, 8


def normalise_rows(
    rows_NHR: NDArray[Any], mean_R: NDArray[np.float32], std_R: NDArray[np.float32], into_NHR: NDArray[np.float32]
) -> None:
    """Write (rows - mean) / std of any numbers into a float array of the same shape; few images in this thread."""

    def normalise(start: int) -> None:
        some_NHR = into_NHR[start : start + AT_ONCE]
        np.copyto(some_NHR, rows_NHR[start : start + AT_ONCE])
        np.subtract(some_NHR, mean_R, out=some_NHR)
        np.divide(some_NHR, std_R, out=some_NHR)

    together = threads().map if len(rows_NHR) > FEW else map
    for _ in together(normalise, range(0, len(rows_NHR), AT_ONCE)):
        pass
