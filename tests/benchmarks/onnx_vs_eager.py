"""The exported file in onnxruntime against torch in eager mode: median time of one image, fp32, the same threads.

Eager gets its images in channels-last memory, as Graft's own scoring gives them. In contiguous memory, torch's default,
some backbones take longer: `contiguous_ms` is that time.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

import torch

from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.exports import exported, images, median_ms, median_of, network

TARGETS = {"resnet18": 0.7, "resnet50": 0.7, "efficientnet_b0": 0.55, "efficientnet_b3": 0.35}
TURNS, CONTIGUOUS_TURNS = 7, 3


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

            normalised_NCHW = model.normalise(pixels).contiguous()

            def contiguous(model: torch.nn.Module = model.model, images_NCHW: torch.Tensor = normalised_NCHW) -> float:
                with torch.inference_mode():
                    return median_ms(lambda: model(images_NCHW))

            ours, peer = alternate(median_of(exported(backbone, Path(folder)), pixels_NHWC, threads), eager, TURNS)
            packages = ("torch", "timm", "onnxruntime")
            name = f"onnx_vs_eager/{backbone}"
            more = {"contiguous_ms": round(statistics.median(contiguous() for _ in range(CONTIGUOUS_TURNS)), 2)}
            met.append(report(name, ours, peer, "torch eager", "ms", Target("<=", most), packages, threads, **more))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
