"""int8 against fp32, both in onnxruntime: median time of one image. The target holds where the CPU has VNNI.

Each turn opens the files anew: sessions of one file differ more from each other than the runs of one session.
"""

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from components.export_onnx.int8 import quantise, recipe_of
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
            model = onnx.load(full)
            quantise(model, small, work, recipe_of(model), [], batches(pixels_NHWC, 8))

            def anew(path: Path, pixels_NHWC: NDArray[np.uint8] = pixels_NHWC) -> float:
                return median_of(path, pixels_NHWC, threads)()

            ours, peer = alternate(partial(anew, small), partial(anew, full), TURNS)
            met.append(report(f"int8_vs_fp32/{backbone}", ours, peer, "fp32", "ms", target, ("onnxruntime",), threads))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
