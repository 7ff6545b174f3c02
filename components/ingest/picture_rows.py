"""What makes a picture, but for its pixels, as cells of a table."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from components.ingest.layouts import SourceImage
from components.ingest.perceptual import Look
from components.ingest.pictures import Picture
from components.ingest.spool import StoredBytes
from components.ingest.statistics import PixelSums
from components.interchange.stored_images import Encoding

FIELDS: list[tuple[str, pa.DataType]] = [
    ("id", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("format", pa.string()),
    ("phash", pa.string()),
    ("brightness", pa.float64()),
    ("stored_width", pa.int32()),
    ("stored_height", pa.int32()),
    ("pixels_sha256", pa.string()),
    ("sums", pa.list_(pa.int64())),
    ("squares", pa.list_(pa.int64())),
    ("icc", pa.string()),
]


def cells_of(picture: Picture) -> tuple[object, ...]:
    """The cells of FIELDS."""
    return (
        picture.id,
        picture.width_px,
        picture.height_px,
        picture.format,
        *picture.look,
        picture.stored_width_px,
        picture.stored_height_px,
        picture.pixels_sha256,
        *picture.sums.by_channel(),
        picture.icc,
    )


def picture_of(cells: Sequence[Any], source: SourceImage, stored: StoredBytes, encoding: Encoding) -> Picture:
    """The picture of a source's file, from the cells of FIELDS and what was kept of its pixels."""
    image_id, width, height, kind, phash, brightness, stored_width, stored_height, sha256, sums, squares, icc = cells
    return Picture(
        image_id,
        source,
        width,
        height,
        kind,
        Look(phash, brightness),
        stored_width,
        stored_height,
        sha256,
        PixelSums.of(stored_width * stored_height, sums, squares),
        icc,
        stored,
        encoding,
    )
