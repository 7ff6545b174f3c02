"""lineage/ of an onnx_model: what it was made of, for the drift and leak checks of the next run.

lineage/lineage.json   digests, specs, statistics
lineage/images.parquet  every image of the dataset: id (sha256 of the source bytes), label, split, group, phash
lineage/features.npz    mean and covariance of the frozen features, where the run had a baseline (feature_statistics.py)
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from components.interchange.artifact import to_json
from components.interchange.ledgers import read_table, write_table

FOLDER, FACTS_FILE, IMAGES_FILE = "lineage", "lineage.json", "images.parquet"


class LineageImage(NamedTuple):
    """One image that the model was trained (split `train`), tuned (`val`) or judged (`test`) on."""

    id: str
    label: str
    split: str
    group: str | None
    phash: str


SCHEMA = pa.schema([(name, pa.string()) for name in LineageImage._fields])


def write_lineage(model: Path, images: Iterable[LineageImage], facts: dict[str, Any]) -> None:
    """Write the lineage of the onnx_model in the folder `model`."""
    folder = model / FOLDER
    folder.mkdir(parents=True)
    write_table(folder / IMAGES_FILE, SCHEMA, list(images))
    (folder / FACTS_FILE).write_text(to_json(facts), encoding="utf-8")


class Lineage(NamedTuple):
    """A lineage, read: every image, and the facts of lineage.json."""

    images: list[LineageImage]
    facts: dict[str, Any]


def read_lineage(model: Path) -> Lineage | None:
    """The lineage of an onnx_model; None where an older Graft wrote it, without the images' sides."""
    if not (model / FOLDER / IMAGES_FILE).is_file():
        return None
    return Lineage(read_images(model), json.loads((model / FOLDER / FACTS_FILE).read_text(encoding="utf-8")))


def read_images(model: Path) -> list[LineageImage]:
    """The images in the lineage of an onnx_model; BadInput when they are missing or damaged."""
    return [LineageImage._make(row) for row in read_table(model / FOLDER / IMAGES_FILE, SCHEMA)]
