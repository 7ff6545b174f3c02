"""How a model file is run: provider, graph-optimisation level, batch size. N images, H height, W width, C classes."""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from components.interchange.errors import BadInput
from components.interchange.onnx_model import logits_of, open_model
from components.interchange.progress import progress
from components.interchange.providers import CPU_PROVIDER, CUDA_PROVIDER, own_options, present, with_fallback
from components.interchange.scoring import Logits

log = logging.getLogger("graft")
PROVEN_BATCHES = (1, 2, 7)
LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
SERVED = "all"
# TF32 keeps ten bits of a factor's mantissa: its error alone is of the tolerance's size.
EXACT: dict[str, dict[str, str]] = {CUDA_PROVIDER: {"use_tf32": "0"}}


class Setting(NamedTuple):
    """How the file was run."""

    provider: str
    optimisation: str
    batch: int

    def __str__(self) -> str:
        return f"{self.provider}, optimisation {self.optimisation}, batch {self.batch}"


def batch_sizes(largest: int) -> list[int]:
    """The batch sizes to prove, in order: 1, 2, 7 and the largest that will be served."""
    return sorted({*(size for size in PROVEN_BATCHES if size < largest), largest})


def settings(providers: Sequence[str], batches: Sequence[int]) -> list[Setting]:
    """Every batch size as the file is served (all optimisations), and every other level at the largest batch."""
    return [
        Setting(provider, level, batch)
        for provider in providers
        for level in LEVELS
        for batch in (batches if level == SERVED else batches[-1:])
    ]


def options_at(level: str) -> Any:
    """onnxruntime's session options at one graph-optimisation level."""
    options = own_options()
    options.graph_optimization_level = LEVELS[level]
    return options


def batches(pixels_NHWC: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    """The images in order, `size` at a time; the last batch may be smaller."""
    for start in range(0, len(pixels_NHWC), size):
        yield pixels_NHWC[start : start + size]


def onnx_logits(session: Any, pixels_NHWC: NDArray[np.uint8], size: int, label: str = "parity") -> NDArray[np.float32]:
    """onnxruntime's logits [N, C] of uint8 [N, H, W, 3], fed `size` images at a time."""
    total = -(-len(pixels_NHWC) // size)
    found = progress(batches(pixels_NHWC, size), f"{label} at batch {size}", total=total, unit=" batches")
    return np.concatenate([logits_of(session, batch) for batch in found])


def in_every_setting(
    folder: Path, pixels_NHWC: NDArray[np.uint8], sizes: list[int]
) -> tuple[dict[Setting, Logits], dict[str, str]]:
    """Logits of the file by setting, and the providers that this onnxruntime has but cannot start, with the reason."""
    found: dict[Setting, Logits] = {}
    not_started: dict[str, str] = {}
    for provider in present():
        try:
            for level, group in groupby(settings([provider], sizes), key=lambda setting: setting.optimisation):
                asked = [(name, EXACT.get(name, {})) for name in with_fallback(provider)]
                session, _ = open_model(folder, asked, options_at(level))
                found |= {setting: onnx_logits(session, pixels_NHWC, setting.batch) for setting in group}
        except BadInput as error:
            if provider == CPU_PROVIDER:
                raise
            log.warning("provider=%s not_started=%s", provider, error)
            not_started[provider] = str(error)
    return found, not_started
