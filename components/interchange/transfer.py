"""What every step can be told that puts a new head on a pretrained backbone."""

from pathlib import Path

from components.interchange.step import Spec, param, reads


class Transfer(Spec):
    """From which backbone and weights a step starts, and at which size it shows them the dataset's images."""

    dataset: Path = reads("dataset", "Images of the train and val splits")

    backbone: str = param("Name of a timm classifier", default="resnet50")
    weights: str = param(
        "Pretrained weights: hub, store, package:NAME, an s3:// URI or a file", default="hub", location=True
    )
    weights_sha256: str | None = param("sha256 that the weights must have", default=None)
    input_size_px: int | None = param("Model input; the weights' own where not given", default=None, unit="px", ge=8)
