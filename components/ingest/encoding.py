"""Raw or JPEG: what the dataset's images become, and what that costs.

A choice is made while images come: as soon as they are too many for raw pixels, those that follow are put aside as
JPEG, so that the disk need not hold all of them raw. What came before is encoded when it is written.
Legend: H height, W width; pixels are uint8.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from components.ingest.pictures import Picture, stored_pixels
from components.ingest.spec import WantedEncoding
from components.ingest.spool import StoredBytes
from components.interchange.dataset import ID_LENGTH
from components.interchange.pixels import decode_short, to_array
from components.interchange.preprocessing import Interpolation
from components.interchange.report import Row
from components.interchange.stored_images import JPEG_QUALITY, Encoding, jpeg_of

GIB = 1 << 30


class Choice:
    """The encoding that all images seen so far call for; `auto` is raw up to `raw_limit_gib` of pixels."""

    def __init__(self, wanted: WantedEncoding, raw_limit_gib: float) -> None:
        self._wanted, self._raw_limit_gib = wanted, raw_limit_gib
        self._raw_bytes = 0
        self._lock = threading.Lock()

    def with_another(self, raw_bytes: int) -> Encoding:
        """The encoding, with one more image of so many bytes of pixels. JPEG is never taken back."""
        with self._lock:
            self._raw_bytes += raw_bytes
            return self.encoding

    @property
    def encoding(self) -> Encoding:
        """Raw or JPEG."""
        return self.encoding_at(self._raw_bytes)

    def encoding_at(self, raw_bytes: int) -> Encoding:
        """What so many bytes of pixels call for."""
        if self._wanted != "auto":
            return self._wanted
        return "jpeg" if raw_bytes > self._raw_limit_gib * GIB else "raw"

    def because(self) -> str:
        """In words."""
        seen = f"{_size(self._raw_bytes)} of pixels"
        if self._wanted != "auto":
            return f"--encoding {self._wanted} asks for it ({seen})"
        relation = "over" if self.encoding == "jpeg" else "within"
        return f"{seen} are {relation} --raw-limit-gib {self._raw_limit_gib:g}"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.3g} GiB" if num_bytes >= GIB / 10 else f"{num_bytes / 2**20:.3g} MiB"


def encoded_as(picture: Picture, encoding: Encoding) -> Picture:
    """The picture, its bytes in the dataset's encoding; it may have been put aside raw."""
    if picture.encoding == encoding:
        return picture
    size = (picture.stored_width_px, picture.stored_height_px)
    return picture._replace(encoding=encoding, stored=_AsJpeg(picture.stored, size))


class _AsJpeg(NamedTuple):
    raw: StoredBytes
    size: tuple[int, int]

    def read(self) -> bytes:
        return jpeg_of(Image.frombytes("RGB", self.size, self.raw.read()))


class Difference(NamedTuple):
    """Mean absolute difference, of 255, between what is stored and what a client makes of the same `n` files."""

    mean: float
    n: int


def difference_from(
    originals: Path, pictures: Mapping[str, Picture], short_px: int, interpolation: Interpolation
) -> Difference | None:
    """Measured on a folder of originals, of pictures by id; None where there are none."""
    found = []
    for path in sorted(originals.iterdir()):
        pixels_HWC = to_array(decode_short(path.read_bytes(), short_px, interpolation).image)
        stored_HWC = stored_pixels(pictures[path.name[:ID_LENGTH]])
        found.append(np.abs(pixels_HWC.astype(np.int16) - stored_HWC).mean())
    return Difference(float(np.mean(found)), len(found)) if found else None


class Cost(NamedTuple):
    """The encoding that the dataset got, why, and what it costs: bytes of the images as stored and as raw pixels."""

    encoding: Encoding
    because: str
    stored_bytes: int
    raw_bytes: int
    difference: Difference | None

    def rows(self) -> list[Row]:
        """For report.json."""
        found = [
            Row(name="stored_bytes", value=self.stored_bytes, unit="bytes", of=self.encoding),
            Row(name="raw_bytes", value=self.raw_bytes, unit="bytes"),
        ]
        if self.difference is not None:
            found.append(Row(name="pixel_difference", value=self.difference.mean, unit="of 255", n=self.difference.n))
        return found

    def sentences(self) -> list[str]:
        """For people."""
        if self.encoding == "raw":
            return [f"Raw pixels, the fastest to train from: {self.because}. {self.stored_bytes:,} bytes."]
        found = [
            f"JPEG of quality {JPEG_QUALITY}: {self.because}.",
            f"{self.stored_bytes:,} bytes instead of {self.raw_bytes:,}: {self.raw_bytes / self.stored_bytes:.1f} "
            "times fewer; whoever reads them decodes.",
        ]
        if self.difference is not None:
            found.append(
                f"Stored pixels differ from what a client makes of the same file by {self.difference.mean:.2f} of 255 "
                f"on average (first {self.difference.n} test images)."
            )
        return found
