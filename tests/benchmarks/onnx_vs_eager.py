"""The exported file in onnxruntime against torch in eager mode: median time of one image, fp32, the same threads."""

import os
import sys
import tempfile
from pathlib import Path

import torch

from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.exports import exported, images, median_ms, median_of, network

TARGETS = {"resnet18": 0.7, "resnet50": 0.7, "efficientnet_b0": 0.55, "efficientnet_b3": 0.35}
TURNS = 7


def main() -> int:
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    met = []
    with tempfile.TemporaryDirectory() as folder:
        for backbone, most in TARGETS.items():
            pixels_NHWC = images(backbone, 1)
            model, pixels = network(backbone).eval(), torch.from_numpy(pixels_NHWC)

            def eager(model: torch.nn.Module = model, pixels: torch.Tensor = pixels) -> float:
                with torch.inference_mode():
                    return median_ms(lambda: model(pixels))

            ours, peer = alternate(median_of(exported(backbone, Path(folder)), pixels_NHWC, threads), eager, TURNS)
            packages = ("torch", "timm", "onnxruntime")
            name = f"onnx_vs_eager/{backbone}"
            met.append(report(name, ours, peer, "torch eager", "ms", Target("<=", most), packages, threads))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
