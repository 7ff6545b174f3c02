"""From source bytes to model input: the numbers that training, evaluation, export and every client must share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Interpolation = Literal["bilinear", "bicubic", "lanczos"]


class Preprocessing(BaseModel):
    """Decode, apply EXIF orientation, convert to RGB, resize the short side, crop the centre, normalise.

    `mean` and `std` (RGB, on [0, 1]) belong to the pretrained weights and are applied inside the model file. What can
    have one value alone is written down too: this is the whole contract with a client, who need not know our code. Any
    decoder does that is within a level or two of `decoder`; `graft conformance` tells whether the rest is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize_short_px: int
    interpolation: Interpolation
    antialias: Literal[True] = True
    crop_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    colour: Literal["RGB"] = "RGB"
    orientation: Literal["exif"] = "exif"
    decoder: Literal["pillow"] = "pillow"
    transparency: Literal["over white"] = "over white"
    long_side: Literal["rounded down"] = "rounded down"
    crop_offset: Literal["rounded down"] = "rounded down"
