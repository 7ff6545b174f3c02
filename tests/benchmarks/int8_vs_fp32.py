"""int8 against fp32, both in onnxruntime: median time of one image. The target holds where the CPU has VNNI."""

import os
import sys
import tempfile
from pathlib import Path

import onnx

from components.export_onnx.int8 import measure_ranges, quantise, recipe_of
from components.export_onnx.settings import batches
from tests.benchmarks.duel import Target, alternate, processor, report
from tests.benchmarks.exports import exported, images, median_of

BACKBONES = ("resnet18", "resnet50")
CALIBRATION_IMAGES = 16
TURNS = 11


def main() -> int:
    threads = len(os.sched_getaffinity(0))
    target = Target("<=", 0.4) if "avx512_vnni" in processor() else None
    met = []
    with tempfile.TemporaryDirectory() as name:
        for backbone in BACKBONES:
            work = Path(name) / backbone
            work.mkdir()
            pixels_NHWC = images(backbone, CALIBRATION_IMAGES)
            full, small = exported(backbone, work), work / "int8.onnx"
            model, ranges = onnx.load(full), work / "ranges.json"
            recipe = recipe_of(model)
            measure_ranges(full, ranges, recipe, batches(pixels_NHWC, 8))
            quantise(model, small, ranges, recipe, [])

            ours, peer = alternate(median_of(small, pixels_NHWC, threads), median_of(full, pixels_NHWC, threads), TURNS)
            met.append(report(f"int8_vs_fp32/{backbone}", ours, peer, "fp32", "ms", target, ("onnxruntime",), threads))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
