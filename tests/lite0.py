"""EfficientNet-Lite0 as it ships: packaged ImageNet weights, a head fitted to fabric images, exported."""

from pathlib import Path
from typing import NamedTuple

from components.export_onnx.spec import ExportOnnx
from components.feature_extraction.spec import FeatureExtraction
from components.ingest.spec import Ingest
from tests.benchmarks.fabric import BACKBONE, STORED_PX, WEIGHTS, copy_images, step


class Exported(NamedTuple):
    """The onnx_model, and the dataset that it was made from."""

    onnx_model: Path
    dataset: Path


def exported(folder: Path, num_images: int, golden_samples: int = 8) -> Exported:
    """Ingest, fit and export below `folder`; a few seconds per hundred images."""
    copy_images(folder / "images", num_images)
    dataset, classifier = folder / "ingest" / "dataset", folder / "baseline" / "classifier"
    step(Ingest, folder / "ingest", [f"--source={folder / 'images'}", f"--stored-size-px={STORED_PX}"])
    argv = [f"--dataset={dataset}", "--device=cpu"]
    step(FeatureExtraction, folder / "baseline", [*argv, f"--backbone={BACKBONE}", f"--weights={WEIGHTS}"])
    argv += [f"--selected={classifier}", "--parity-samples=16", f"--golden-samples={golden_samples}"]
    step(ExportOnnx, folder / "export", argv)
    return Exported(folder / "export" / "onnx_model", dataset)
