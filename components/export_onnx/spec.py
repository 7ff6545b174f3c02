"""What export_onnx reads, writes and can be told."""

from pathlib import Path
from typing import Literal

from components.interchange.cards import InputLayout, Precision
from components.interchange.step import Spec, param, reads, writes


class ExportOnnx(Spec):
    """ONNX with normalisation inside, checked, and compared with torch on real images."""

    dataset: Path = reads("dataset", "Test images for parity, originals for the golden samples")
    selected: Path = reads("classifier", "The classifier to export")
    onnx_model: Path = writes("onnx_model", "model.onnx with card, golden samples and lineage")
    report: Path = writes("report", "Checker, opset, parity: largest difference and every flip")

    opset: int = param("ONNX operator set that the file must say", default=17, ge=17, le=21)
    input: InputLayout = param("What clients feed: raw pixels, or floats on [0, 1]", default="uint8-nhwc")
    max_batch: int = param("Largest batch that a server will send; proven beside 1, 2 and 7", default=32, ge=1)
    precision: Precision = param("Precision of the model that ships", default="fp32")
    variants: tuple[Precision, ...] = param("Others to write beside it, for latency to compare", default=())
    max_drop: float = param("Top-1 that a lower precision may lose against fp32", default=0.005, ge=0, le=1)
    calibration_samples: int = param("Val images that int8 is calibrated on", default=128, unit="images", ge=1)
    judged_samples: int = param("Val and test images to judge precisions on", default=2000, unit="images", ge=1)
    parity_samples: int = param(
        "Images compared with torch: of test, then of val and train", default=256, unit="images", ge=1
    )
    tolerance: float = param(
        "Largest logit difference that is no finding, as a share of the image's largest logit or of 1",
        default=1e-3,
        gt=0,
    )
    golden_samples: int = param("Images that travel with the model", default=8, unit="images", ge=1)
    device: Literal["auto", "cpu", "cuda"] = param("Where torch computes the reference", default="auto")
