"""A source file read once: its identity, its pixels as they are stored, and figures over them.

Legend: H height, W width, C 3 channels (RGB); pixels are uint8.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.ingest.colour_profiles import profile_name
from components.ingest.files import SourceFile, bytes_digest
from components.ingest.layouts import SourceImage
from components.ingest.perceptual import Look, perceptual_hash
from components.ingest.spool import Shelf, StoredBytes
from components.ingest.statistics import PixelSums, pixel_sums
from components.interchange.image_files import BrokenImage
from components.interchange.ledgers import Quarantined
from components.interchange.pixels import decode_short
from components.interchange.preprocessing import Interpolation
from components.interchange.stored_images import Encoding, jpeg_of, pixels_of_jpeg

Chosen = Callable[[int], Encoding]  # From the bytes of an image's pixels: how they are put aside.


class Picture(NamedTuple):
    """One image that can be used. `id` is the sha256 of its source's bytes, `pixels_sha256` that of its pixels before
    they were encoded; `stored` are those of it that were put aside, in `encoding`.

    `width_px` and `height_px`, `format` (Pillow's name) and `icc` (its colour profile's) are the source's; the stored
    picture has a size of its own.
    """

    id: str
    source: SourceImage
    width_px: int
    height_px: int
    format: str
    look: Look
    stored_width_px: int
    stored_height_px: int
    pixels_sha256: str
    sums: PixelSums
    icc: str | None
    stored: StoredBytes
    encoding: Encoding = "raw"


def read_picture(
    source: SourceImage, file: SourceFile, short_px: int, interpolation: Interpolation, shelf: Shelf, chosen: Chosen
) -> Picture | Quarantined:
    """Read, identify and decode the file of one image, and put its pixels aside; or say why it cannot be used."""
    problem = file.problem()
    if problem:
        return Quarantined(source.path, *problem)
    try:
        data = file.read()
        decoded = decode_short(data, short_px, interpolation)
    except BrokenImage as broken:
        return Quarantined(source.path, broken.reason, broken.detail)
    pixels = decoded.image.tobytes()
    encoding = chosen(len(pixels))
    sums = pixel_sums(decoded.image)
    return Picture(
        id=bytes_digest(data),
        source=source,
        width_px=decoded.width_px,
        height_px=decoded.height_px,
        format=decoded.format,
        look=Look(perceptual_hash(decoded.image), sums.brightness()),
        stored_width_px=decoded.image.width,
        stored_height_px=decoded.image.height,
        pixels_sha256=hashlib.sha256(pixels).hexdigest(),
        sums=sums,
        icc=profile_name(decoded.icc),
        stored=shelf.put(pixels if encoding == "raw" else jpeg_of(decoded.image)),
        encoding=encoding,
    )


def stored_pixels(picture: Picture) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] that were put aside, after whatever their encoding did to them."""
    data = picture.stored.read()
    if picture.encoding == "jpeg":
        return pixels_of_jpeg(data)
    return np.frombuffer(data, np.uint8).reshape(picture.stored_height_px, picture.stored_width_px, 3)
