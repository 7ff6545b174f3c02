"""Random backbones as files, for the benchmarks of export and precision: speed does not ask what weights mean."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import timm
import torch
from numpy.typing import NDArray

from components.export_onnx.export import to_onnx
from components.export_onnx.files import save
from components.interchange.onnx_model import answer
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing
from components.interchange.providers import CPU_PROVIDER
from components.latency.session import session_options

INPUT_PX = {"efficientnet_b3": 288}


def network(backbone: str) -> PixelsToLogits:
    """The backbone with random weights and random BatchNorm statistics, so that there is something to fold."""
    torch.manual_seed(0)
    model = timm.create_model(backbone, num_classes=3).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    half = (0.5, 0.5, 0.5)
    size_px = input_px(backbone)
    preprocessing = Preprocessing(
        resize_short_px=size_px, interpolation="bicubic", crop_px=size_px, mean=half, std=half
    )
    return PixelsToLogits(model, preprocessing)


def input_px(backbone: str) -> int:
    """Side of the backbone's input."""
    return INPUT_PX.get(backbone, 224)


def exported(backbone: str, folder: Path) -> Path:
    """The file that export_onnx makes of it."""
    path = folder / f"{backbone}.onnx"
    save(to_onnx(network(backbone), input_px(backbone), 17, {}), path)
    return path


def images(backbone: str, count: int) -> NDArray[np.uint8]:
    """uint8 [count, side, side, 3]: coarse blocks with noise, so that ranges are like those of pictures."""
    rng = np.random.default_rng(0)
    blocks = (
        rng.integers(0, 255, (count, 8, 8, 3)).repeat(input_px(backbone) // 8, 1).repeat(input_px(backbone) // 8, 2)
    )
    return np.clip(blocks + rng.normal(0, 15, blocks.shape), 0, 255).astype(np.uint8)


def session(path: Path, threads: int) -> ort.InferenceSession:
    """As latency opens it."""
    return ort.InferenceSession(str(path), session_options(threads), providers=[CPU_PROVIDER])


def median_ms(call: Callable[[], object], runs: int = 10) -> float:
    """The median time of a few runs in a row, after one that does not count."""
    call()
    return statistics.median(_ms(call) for _ in range(runs))


def _ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def median_of(path: Path, pixels_NHWC: NDArray[np.uint8], threads: int) -> Callable[[], float]:
    """A side of a duel: the file's median at batch 1, each time in a session of its own.

    Sessions of one file differ more from each other than the runs of one session: where its memory lies stays.
    """

    def median() -> float:
        opened = session(path, threads)
        return median_ms(lambda: answer(opened, pixels_NHWC[:1]))

    return median
