"""Does the ONNX file answer as torch does? Largest logit difference and top-1 flips on real images, at several batches.

One torch reference for all batch sizes: logits of an image may not depend on what else is in its batch. A tie broken
differently is a flip. N images, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.interchange.onnx_model import logits_of
from components.interchange.progress import progress


@dataclass(frozen=True)
class Flip:
    """An image whose top-1 differs: class numbers by torch and by onnxruntime, at this batch size."""

    id: str
    torch: int
    onnx: int
    batch: int


@dataclass(frozen=True)
class Parity:
    """`max_abs_diff` of logits over all images and batch sizes; None when any logit is not finite."""

    max_abs_diff: float | None
    flips: list[Flip]


def batches(pixels_NHWC: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    """The images in order, `size` at a time; the last batch may be smaller."""
    for start in range(0, len(pixels_NHWC), size):
        yield pixels_NHWC[start : start + size]


def onnx_logits(session: Any, pixels_NHWC: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """onnxruntime's logits [N, C] of uint8 [N, H, W, 3], fed `size` images at a time."""
    total = -(-len(pixels_NHWC) // size)
    found = progress(batches(pixels_NHWC, size), f"parity at batch {size}", total=total, unit=" batches")
    return np.concatenate([logits_of(session, batch) for batch in found])


def compare(
    ids: Sequence[str], reference_NC: NDArray[np.float32], found_NC_by_batch: Mapping[int, NDArray[np.float32]]
) -> Parity:
    """Compare logits by batch size with the reference, image by image."""
    flips: list[Flip] = []
    largest = 0.0
    expected_N = reference_NC.argmax(axis=1)
    for batch, found_NC in found_NC_by_batch.items():
        top_N = found_NC.argmax(axis=1)
        for row in np.flatnonzero(top_N != expected_N).tolist():
            flips.append(Flip(ids[row], int(expected_N[row]), int(top_N[row]), batch))
        # np.maximum keeps a NaN, where Python's max may lose it.
        largest = float(np.maximum(largest, np.abs(found_NC - reference_NC).max(initial=0.0)))
    return Parity(largest if np.isfinite(largest) else None, flips)


def findings(parity: Parity, tolerance: float) -> list[str]:
    """Why a model must not be promoted, in words. Flips are for the gate to judge: it knows how many are allowed."""
    found = []
    if parity.max_abs_diff is None:
        found.append("some logits are not finite")
    elif parity.max_abs_diff > tolerance:
        found.append(f"the largest logit difference is {parity.max_abs_diff:.1e}, tolerance {tolerance:.1e}")
    return found
