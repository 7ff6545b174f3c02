"""The exported file in onnxruntime against torch in eager mode: median time of one image, fp32, the same threads.

The target is against eager as it comes: images in contiguous memory, torch's default. In channels-last memory, as
Graft's own scoring gives them, eager is faster for some backbones: the second line of each, without a target. Either
side starts from the same uint8 pixels.
"""

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

from components.interchange.pixels_to_logits import PixelsToLogits
from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.exports import exported, images, median_ms, median_of, network

TARGETS = {"resnet18": 0.7, "resnet50": 0.7, "efficientnet_b0": 0.55, "efficientnet_b3": 0.35}
PACKAGES = ("torch", "timm", "onnxruntime")
TURNS = 9


def eager_ms(model: PixelsToLogits, pixels_NHWC: torch.Tensor, memory_format: torch.memory_format) -> float:
    """Median time of torch's answer."""

    def answer() -> object:
        return model.model(model.normalise(pixels_NHWC).contiguous(memory_format=memory_format))

    with torch.inference_mode():
        return median_ms(answer)


def main() -> int:
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    met = []
    with tempfile.TemporaryDirectory() as folder:
        for backbone, most in TARGETS.items():
            pixels_NHWC = images(backbone, 1)
            model, file = network(backbone).eval(), exported(backbone, Path(folder))
            for name, memory_format, target in (
                (f"onnx_vs_eager/{backbone}", torch.contiguous_format, Target("<=", most)),
                (f"onnx_vs_eager/{backbone}/channels_last", torch.channels_last, None),
            ):
                peer = partial(eager_ms, model, torch.from_numpy(pixels_NHWC), memory_format)
                figures = alternate(median_of(file, pixels_NHWC, threads), peer, TURNS)
                met.append(report(name, *figures, "torch eager", "ms", target, PACKAGES, threads))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
