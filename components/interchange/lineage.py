"""lineage/ of an onnx_model: what it was made of, for the drift and leak checks of the next run.

lineage/lineage.json   digests, specs, statistics
lineage/images.parquet  every image of the dataset: id (sha256 of the source bytes), label, split, group, phash
lineage/features.npz    mean and covariance of the frozen features, where the run had a baseline (feature_statistics.py)
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from components.interchange.artifact import to_json
from components.interchange.dataset import SPLITS, ChannelStatistics
from components.interchange.errors import BadInput, listed, what_is_wrong
from components.interchange.ledgers import read_table, write_table

FOLDER, FACTS_FILE, IMAGES_FILE = "lineage", "lineage.json", "images.parquet"
HASH = re.compile("[0-9a-f]{16}")
REMEDY = "Take it out of service with graft champion rollback, or promote a whole model."


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


class LineageFacts(BaseModel):
    """Of lineage.json, what drift is told from: images by split and class, colours of the training pixels."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    counts: dict[str, dict[str, int]]
    statistics: ChannelStatistics


class Lineage(NamedTuple):
    """A lineage, read: every image, and facts of lineage.json."""

    images: list[LineageImage]
    facts: LineageFacts


def read_lineage(model: Path) -> Lineage | None:
    """The lineage of an onnx_model; None where an older Graft wrote it, without the images' sides.

    BadInput where it is damaged.
    """
    if not (model / FOLDER / IMAGES_FILE).is_file():
        return None
    path = model / FOLDER / FACTS_FILE
    try:
        facts = LineageFacts.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise BadInput(f"the model's {FOLDER}/ has no {FACTS_FILE}, though it has {IMAGES_FILE}. {REMEDY}") from None
    except ValidationError as error:
        raise BadInput(f"the model's {FOLDER}/{FACTS_FILE} is damaged: {what_is_wrong(error)}. {REMEDY}") from None
    return Lineage(read_images(model), facts)


def read_images(model: Path) -> list[LineageImage]:
    """The images in the lineage of an onnx_model; BadInput when they are missing or damaged."""
    images = [LineageImage._make(row) for row in read_table(model / FOLDER / IMAGES_FILE, SCHEMA)]
    damaged = [number for number, image in enumerate(images, 1) if not _is_whole(image)]
    if damaged:
        raise BadInput(
            f"the model's {FOLDER}/{IMAGES_FILE} is damaged: {len(damaged)} of its {len(images)} rows (rows "
            f"{listed(damaged)}) lack an id, a label, a split ({', '.join(SPLITS)}) or a perceptual hash. {REMEDY}"
        )
    return images


def _is_whole(image: LineageImage) -> bool:
    return bool(image.id and image.label and image.split in SPLITS and HASH.fullmatch(image.phash or ""))
