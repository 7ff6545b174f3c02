"""What a client of a model may do wrong between a file and the answer, one fault at a time.

Each fault gives the pixels that a client with it would feed. Legend: H height, W width, 3 channels (RGB); pixels are
float32 on the scale of 0 to 255, and may lie outside of it.
"""

import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from components.interchange.pixels import center_crop, decode, preprocess, resize_short, to_array
from components.interchange.preprocessing import Preprocessing

Pixels = NDArray[np.float32]
Filter = Callable[[Image.Image, tuple[int, int]], Image.Image]
OFF = 0.2  # Of the pixels, in a decoder that rounds otherwise.
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


class Fault(NamedTuple):
    """`subject` is what departs (orientation, resize, colour, layout, normalisation), `words` how."""

    subject: str
    words: str
    pixels_of: Callable[[bytes], Pixels]


def as_agreed(contract: Preprocessing) -> Callable[[bytes], Pixels]:
    """The pixels of a client that keeps to the contract."""
    return lambda data: preprocess(data, contract).astype(np.float32)


def resized_by_pillow(contract: Preprocessing) -> Callable[[bytes], Pixels]:
    """The pixels of a client that keeps to the contract, too: decoded whole, and resized by another library."""
    return lambda data: _resized_by_pillow(decode(data).image, contract)


def decoded_otherwise(contract: Preprocessing) -> Callable[[bytes], Pixels]:
    """The pixels of a client that keeps to the contract, too: a fifth of what it decodes is a level of 255 off."""
    rng = np.random.default_rng(0)

    def pixels_of(data: bytes) -> Pixels:
        decoded_HWC = to_array(decode(data).image).astype(np.int16)
        off_HW = rng.choice([-1, 0, 1], decoded_HWC.shape[:2], p=[OFF / 2, 1 - OFF, OFF / 2])
        changed_HWC = np.clip(decoded_HWC + off_HW[..., None], 0, 255).astype(np.uint8)
        return _cropped(_short(Image.fromarray(changed_HWC), contract), contract)

    return pixels_of


def faults(contract: Preprocessing) -> Iterator[Fault]:
    """Every single fault that is looked for."""
    yield from _before_the_resize(contract)
    yield from _resizes(contract)
    yield from _colours(contract)
    yield from _layouts(contract)
    yield from _normalisations(contract)


def _before_the_resize(contract: Preprocessing) -> Iterator[Fault]:
    def sideways(data: bytes) -> Pixels:
        return _cropped(_short(Image.open(io.BytesIO(data)).convert("RGB"), contract), contract)

    yield Fault("orientation", "the EXIF orientation is not applied", sideways)


def _resizes(contract: Preprocessing) -> Iterator[Fault]:
    def with_filter(resize: Filter) -> Callable[[bytes], Pixels]:
        def pixels_of(data: bytes) -> Pixels:
            image = decode(data).image
            return _cropped(resize(image, _size(image, contract.resize_short_px)), contract)

        return pixels_of

    for name in FILTERS:
        if name != contract.interpolation:
            words = f"the filter is {name}, not {contract.interpolation}"
            yield Fault("resize filter", words, with_filter(_antialiased(name)))
    for name in ("bilinear", "bicubic"):
        yield Fault("resize filter", f"{name} without antialiasing (as OpenCV resizes)", with_filter(_pointwise(name)))
    yield Fault("resize filter", "the filter is an area average (as OpenCV's INTER_AREA)", with_filter(_area))
    yield Fault("resize filter", "the filter is nearest (as OpenCV's INTER_NEAREST)", with_filter(_nearest_below))
    side = contract.crop_px
    square: Callable[[bytes], Pixels] = lambda data: _floats(  # noqa: E731
        decode(data).image.resize((side, side), Image.Resampling[contract.interpolation.upper()])
    )
    yield Fault("resize size", f"the image is squashed to {side}x{side} instead of resized and cropped", square)
    if side != contract.resize_short_px:
        words = f"the short side is resized to {side} px, not to {contract.resize_short_px}"
        tight = contract.model_copy(update={"resize_short_px": side})
        yield Fault("resize size", words, as_agreed(tight))

        def corner(data: bytes) -> Pixels:
            return _floats(_short(decode(data).image, contract))[:side, :side]

        yield Fault("crop", "the corner is cropped, not the centre", corner)

    def rounded_up(data: bytes) -> Pixels:
        pixels_HWC = _floats(_short(decode(data).image, contract))
        top, left = (-(-(length - side) // 2) for length in pixels_HWC.shape[:2])
        return pixels_HWC[top : top + side, left : left + side]

    yield Fault("crop", "the crop's offset is rounded up, not down (torchvision rounds to even)", rounded_up)

    def long_side_rounded(data: bytes) -> Pixels:
        image = decode(data).image
        width, height = (round(side * contract.resize_short_px / min(image.size)) for side in image.size)
        return _cropped(image.resize((width, height), Image.Resampling[contract.interpolation.upper()]), contract)

    yield Fault("resize size", "the long side is rounded to the nearest pixel, not down", long_side_rounded)


def _colours(contract: Preprocessing) -> Iterator[Fault]:
    agreed = as_agreed(contract)

    def grey(data: bytes) -> Pixels:
        image = Image.fromarray(preprocess(data, contract))
        return _floats(ImageOps.grayscale(image).convert("RGB"))

    yield Fault("colour order", "the channels are BGR, not RGB", lambda data: agreed(data)[..., ::-1])
    yield Fault("colour order", "the image is turned to grey", grey)


def _layouts(contract: Preprocessing) -> Iterator[Fault]:
    agreed = as_agreed(contract)

    def planes_as_rows(data: bytes) -> Pixels:
        pixels_HWC = agreed(data)
        return pixels_HWC.transpose(2, 0, 1).reshape(pixels_HWC.shape)

    def rows_as_planes(data: bytes) -> Pixels:
        pixels_HWC = agreed(data)
        height, width, channels = pixels_HWC.shape
        return pixels_HWC.reshape(channels, height, width).transpose(1, 2, 0)

    yield Fault("layout", "channels-first pixels are reshaped to channels-last, not transposed", planes_as_rows)
    yield Fault("layout", "channels-last pixels are reshaped to channels-first, not transposed", rows_as_planes)
    yield Fault("layout", "height and width are swapped", lambda data: agreed(data).transpose(1, 0, 2))


def _normalisations(contract: Preprocessing) -> Iterator[Fault]:
    """The model normalises by itself: a client that does so too, or that left it out of its own copy, feeds these."""
    agreed = as_agreed(contract)
    mean, unit_std = 255 * np.array(contract.mean, np.float32), np.array(contract.std, np.float32)

    def seen_as(change: Callable[[Pixels], NDArray[np.floating]]) -> Callable[[bytes], Pixels]:
        return lambda data: change(agreed(data)).astype(np.float32)

    yield Fault("normalisation", "pixels are normalised twice", seen_as(lambda x: (x - mean) / unit_std))
    yield Fault("normalisation", "pixels are not normalised at all", seen_as(lambda x: mean + unit_std * x))
    yield Fault("normalisation", "the mean is left out", seen_as(lambda x: x + mean))
    yield Fault("normalisation", "the standard deviation is left out", seen_as(lambda x: mean + unit_std * (x - mean)))
    yield Fault("normalisation", "pixels are divided by 255 once too often", seen_as(lambda x: x / 255))
    yield Fault("normalisation", "pixels are not divided by 255", seen_as(lambda x: 255 * x))


def _antialiased(name: str) -> Filter:
    return lambda image, size: image.resize(size, Image.Resampling[name.upper()])


def _pointwise(name: str) -> Filter:
    def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
        box = (0, 0, *image.size)
        return image.transform(size, Image.Transform.EXTENT, box, Image.Resampling[name.upper()])

    return resize


def _resized_by_pillow(image: Image.Image, contract: Preprocessing) -> Pixels:
    resized = _antialiased(contract.interpolation)(image, _size(image, contract.resize_short_px))
    return _cropped(resized, contract)


def _area(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Every pixel is the mean of what it covers, parts of pixels included; bilinear where the picture grows."""
    if size[0] > image.width:
        return _pointwise("bilinear")(image, size)
    columns, rows = (_coverage(old, new) for old, new in zip(image.size, size, strict=True))
    found_HWC = np.einsum("yh,hwc,xw->yxc", rows, np.asarray(image, np.float32), columns, optimize=True)
    return Image.fromarray(np.rint(found_HWC).astype(np.uint8))


def _coverage(old: int, new: int) -> NDArray[np.float32]:
    """The share that each of `old` pixels has in each of `new`, [new, old]; rows add up to 1."""
    edges = np.arange(new + 1) * old / new
    lows, highs = (np.clip(edge[:, None] - np.arange(old), 0, 1) for edge in (edges[:-1], edges[1:]))
    return ((highs - lows) * new / old).astype(np.float32)


def _nearest_below(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The pixel at or below, where Pillow takes the one at the middle."""
    columns, rows = (np.arange(new) * old // new for old, new in zip(image.size, size, strict=True))
    return Image.fromarray(np.asarray(image)[rows][:, columns])


def _size(image: Image.Image, short_px: int) -> tuple[int, int]:
    short = min(image.size)
    return image.size[0] * short_px // short, image.size[1] * short_px // short


def _short(image: Image.Image, contract: Preprocessing) -> Image.Image:
    return resize_short(image, contract.resize_short_px, contract.interpolation)


def _cropped(image: Image.Image, contract: Preprocessing) -> Pixels:
    return center_crop(to_array(image), contract.crop_px).astype(np.float32)


def _floats(image: Image.Image) -> Pixels:
    return np.asarray(image, np.float32)
