"""Our file against those of torch's two exporters, for each backbone: median time of one image, and seconds to export.

torch's default exporter writes opset 18 whatever is asked, its older one 17; the peer is the faster of the two files.
"""

import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import onnx
import torch

from components.interchange.onnx_model import INPUT_NAME, OUTPUT_NAME
from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.exports import exported, images, input_px, median_of, network

BACKBONES = (
    "resnet18",
    "resnet50",
    "efficientnet_b0",
    "efficientnet_b3",
    "vit_base_patch16_224",
    "tf_efficientnet_lite0",
)
HEATS, TURNS = 3, 15
AS_FAST = Target("<=", 1.05)  # As fast, but for the noise of a median.


def by_torch(backbone: str, path: Path, dynamo: bool) -> Path:
    """The file of one of torch's exporters."""
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    size_px = input_px(backbone)
    example = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8)
    dynamic = (
        {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
        if dynamo
        else {"dynamic_axes": {INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}}}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network(backbone).eval(),
            (example,),
            path,
            dynamo=dynamo,
            opset_version=18 if dynamo else 17,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            verbose=False,
            **dynamic,
        )
    return path


def main() -> int:
    threads = len(os.sched_getaffinity(0))
    met = []
    with tempfile.TemporaryDirectory() as name:
        for backbone in BACKBONES:
            folder, seconds, sides = Path(name), {}, {}
            for who in ("ours", "dynamo", "torchscript"):
                started = time.perf_counter()
                path = folder / f"{who}.onnx"
                if who == "ours":
                    path = exported(backbone, folder)
                else:
                    by_torch(backbone, path, dynamo=who == "dynamo")
                seconds[who] = round(time.perf_counter() - started, 2)
                sides[who] = median_of(path, images(backbone, 1), threads)
            heats = {who: statistics.median(sides[who]() for _ in range(HEATS)) for who in ("dynamo", "torchscript")}
            best = min(heats, key=heats.__getitem__)
            ours, peer = alternate(sides["ours"], sides[best], TURNS)
            met.append(
                report(
                    f"export_speed/{backbone}",
                    ours,
                    peer,
                    f"torch {best}",
                    "ms",
                    AS_FAST,
                    ("torch", "onnxruntime"),
                    threads,
                    export_s=seconds,
                    nodes={
                        who: len(onnx.load(path, load_external_data=False).graph.node)
                        for who, path in (("ours", folder / f"{backbone}.onnx"), (best, folder / f"{best}.onnx"))
                    },
                )
            )
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
