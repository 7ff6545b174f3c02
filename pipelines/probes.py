"""The images that a serving client is asked about: the golden source files, and pictures made of them.

Golden images alone cannot show every fault: few test sets have photographs that lie on their side, or any that are much
larger than the model's input, square ones have no long side to round, and grey ones no order of channels. So some are
made: copies on their side, and coloured mosaics of a golden image that are three times as large as what is resized to,
wide or tall, of sizes at which rounding up and rounding down differ.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from components.interchange.errors import BadInput, listed
from components.interchange.pixels import decode
from components.interchange.preprocessing import Preprocessing

TURNED = 3  # Copies that lie on their side.
MOSAICS = 4  # Half of them wide, half of them tall.
TIMES_AS_LARGE = 3  # Below the 4 from which Graft's own decoder reduces.
QUALITY = 95


class Probe(NamedTuple):
    """One file that the client is asked about."""

    path: Path
    data: bytes


class Golden(NamedTuple):
    """The golden source files and the logits that were written down for them, [N, C]."""

    probes: list[Probe]
    logits_NC: NDArray[np.float64]


def golden(model: Path) -> Golden:
    """The golden samples of a model; BadInput where there are none, or none that can be read."""
    path = model / "golden.json"
    try:
        samples = json.loads(path.read_text(encoding="utf-8"))["samples"]
        probes = [Probe(model / one["source"], (model / one["source"]).read_bytes()) for one in samples]
        logits_NC = np.array([one["logits"] for one in samples], np.float64)
    except FileNotFoundError as error:
        raise BadInput(f"{model} has no {Path(str(error.filename)).name}. Was the onnx_model copied whole?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is damaged: expected samples with source and logits ({error}).") from None
    if not probes:
        raise BadInput(f"{path} names no samples: there is nothing to hold a client against. Export the model again.")
    altered = [probe.path.name for probe in probes if hashlib.sha256(probe.data).hexdigest() != probe.path.stem]
    if altered:
        raise BadInput(
            f"{path.with_suffix('')} holds files that are not those of the export: {listed(altered)}, which bear their "
            "sha256 as names. Was the onnx_model copied whole?"
        )
    return Golden(probes, logits_NC)


def made_of(samples: Sequence[Probe], contract: Preprocessing, folder: Path) -> list[Probe]:
    """Copies on their side and mosaics, written to `folder`."""
    pictures = {f"on its side {number}": _turned(one.data) for number, one in enumerate(samples[:TURNED])}
    for number in range(MOSAICS):
        width, height = telling_size(contract)[:: 1 if number % 2 == 0 else -1]
        pictures[f"mosaic {number}"] = _mosaic(samples[number % len(samples)].data, width, height)
    found = []
    for name, data in pictures.items():
        path = folder / f"{name}.jpg"
        path.write_bytes(data)
        found.append(Probe(path, data))
    return found


def telling_size(contract: Preprocessing) -> tuple[int, int]:
    """Long and short side of a picture whose resized long side, and whose crop's offset, depend on how one rounds.

    The resized long side has a fraction of a half or more, and its margin is an odd number whose half lies above an odd
    one, so that rounding to the even number differs from rounding down, too.
    """
    short_px, crop_px = contract.resize_short_px, contract.crop_px
    short = TIMES_AS_LARGE * short_px + 1
    for long in range(short + short // 4, 2 * short):
        resized, rest = divmod(long * short_px, short)
        if (resized - crop_px) % 4 == 3 and 0.5 < rest / short < 0.9:
            return long, short
    raise ValueError(f"no size between {short} and {2 * short} tells how a client rounds")


def _turned(data: bytes) -> bytes:
    """The picture on its side, with the EXIF orientation that sets it upright."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stream = io.BytesIO()
    decode(data).image.transpose(Image.Transpose.ROTATE_90).save(stream, "JPEG", quality=QUALITY, exif=exif)
    return stream.getvalue()


def _mosaic(data: bytes, width: int, height: int) -> bytes:
    """The picture side by side with its mirror images, at its own scale: no seam shows.

    Red falls from left to right, blue from top to bottom; in the JPEG colours are not subsampled.
    """
    image = decode(data).image
    mosaic = Image.new("RGB", (width, height))
    for column, left in enumerate(range(0, width, image.width)):
        for row, top in enumerate(range(0, height, image.height)):
            tile = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if column % 2 else image
            mosaic.paste(tile.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if row % 2 else tile, (left, top))
    tint_HWC = np.ones((height, width, 3), np.float32)
    tint_HWC[..., 0], tint_HWC[..., 2] = np.linspace(1, 0.3, width), np.linspace(1, 0.3, height)[:, None]
    mosaic = Image.fromarray(np.rint(np.asarray(mosaic) * tint_HWC).astype(np.uint8))
    stream = io.BytesIO()
    mosaic.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()
