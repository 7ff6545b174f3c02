"""From the bytes of an image file to RGB pixels: decode, orient, convert, resize, crop.

`preprocess` is all that a client does before the model; ingest, golden samples and `predict` go through the same code.
Decoding is Pillow's, resizing that of the Rust crate fast_image_resize.
Legend: H height, W width, C 3 channels (RGB); pixels are uint8.
"""

import io
import threading
from typing import NamedTuple

import numpy as np
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray
from PIL import ExifTags, Image

from components.interchange.image_files import FORMATS, BrokenImage, load, loading_bytes, opened
from components.interchange.memory import give_back_freed_memory
from components.interchange.memory_budget import DECODING
from components.interchange.preprocessing import Interpolation, Preprocessing

GLIMPSE_PIXELS = 1 << 25  # 100 MB when they are decoded.
STRIP_PIXELS = 1 << 20
HUGE_BYTES = 1 << 28
DRAFT_FACTOR = 2  # Photographs then differ by less than 1 of 255 on average; pure noise by 3 at most.
FILTERS: dict[Interpolation, FilterType] = {
    "bilinear": FilterType.bilinear,
    "bicubic": FilterType.catmull_rom,  # Pillow's and torchvision's bicubic, antialiased.
    "lanczos": FilterType.lanczos3,
}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {TURNS[orientation] for orientation in (5, 6, 7, 8)}

_OF_THREAD = threading.local()


class Decoded(NamedTuple):
    """An upright RGB image; `width_px` and `height_px` are those of its source, upright too, `format` Pillow's name.

    `icc` is the source's colour profile, which nothing was done with.
    """

    image: Image.Image
    width_px: int
    height_px: int
    format: str
    icc: bytes | None


def decode(data: bytes) -> Decoded:
    """Decode the whole file by its content, whatever its name; upright by EXIF; RGB.

    Alpha is laid over white, 16 bit are scaled to 8, of several frames the first counts. Raises BrokenImage with reason
    empty, not an image, truncated, too small, too large, too elongated or unsupported.
    """
    image = opened(data)
    load(image, data)
    return _upright(_to_rgb(image), image, image.size)


def decode_short(data: bytes, short_px: int, interpolation: Interpolation) -> Decoded:
    """`decode`, then `resize_short`; a large image is reduced by a whole number first, which is much faster.

    A JPEG's decoder does that itself, by 2, 4 or 8. The short side stays at least DRAFT_FACTOR * short_px. Raises as
    `decode` does. A thread waits where others have taken the memory that is for decoding.
    """
    image = opened(data)
    size = image.size
    scale = DRAFT_FACTOR * short_px / min(size)
    drafted = image.draft(None, (int(size[0] * scale), int(size[1] * scale)))
    needed_bytes = loading_bytes(image, size)
    with DECODING.taken(needed_bytes):
        load(image, data)
        # What is reduced is rounded up to whole pixels: the box says how far the picture reaches.
        box: tuple[float, float, float, float] | None = drafted[1] if drafted else None
        factor = min(image.size) // (DRAFT_FACTOR * short_px)
        if box is None and factor > 1:
            rgb, box = _reduced(image, factor), (0.0, 0.0, image.width / factor, image.height / factor)
        else:
            rgb = _to_rgb(image)
        decoded = _upright(resize_short(rgb, short_px, interpolation, size, box), image, size)
        del image, rgb  # Before another thread takes as much.
        if needed_bytes > HUGE_BYTES:
            give_back_freed_memory()  # glibc keeps Pillow's blocks for this thread alone.
    return decoded


def resize_short(
    image: Image.Image,
    short_px: int,
    interpolation: Interpolation,
    size: tuple[int, int] | None = None,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """Resize so that the short side has `short_px`, antialiased; the long side is rounded down, as in torchvision.

    The filters are Pillow's and results differ from its by rounding: by 0.3 of 255 on average, at edges by up to 10.

    Of a draft, `size` is the size of its source and `box` the part of the draft that the picture covers.
    """
    width, height = size or image.size
    short = min(width, height)
    resized_px = (width * short_px // short, height * short_px // short)
    return _resized(image, resized_px, interpolation, box or (0.0, 0.0, *image.size))


def _resized(
    image: Image.Image, size: tuple[int, int], interpolation: Interpolation, box: tuple[float, float, float, float]
) -> Image.Image:
    """Resize an RGB image by SIMD; integer arithmetic, so that every processor gives the same."""
    if (size, box) == (image.size, (0, 0, *image.size)):
        return image
    left, top, right, bottom = box
    target = Image.new("RGB", size)
    options = ResizeOptions(ResizeAlg.convolution(FILTERS[interpolation]), use_alpha=False)
    options.crop_box = CropBox(left, top, right - left, bottom - top)
    _resizer().resize_pil(image, target, options)  # In Pillow's own memory: copies cost more than the filter.
    return target


def _resizer() -> Resizer:
    """This thread's. A new one would take fresh memory for every image: 150 page faults, as long as the filter."""
    if not hasattr(_OF_THREAD, "resizer"):
        _OF_THREAD.resizer = Resizer()
    resizer: Resizer = _OF_THREAD.resizer
    return resizer


def glimpse(data: bytes, longest_px: int) -> NDArray[np.uint8] | None:
    """What a file of any shape shows to a person, at most so large, uint8 [H, W, 3].

    None where it does not decode, or claims more than GLIMPSE_PIXELS.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > GLIMPSE_PIXELS:
            return None
        size = image.size
        image.draft(None, (longest_px, longest_px))
        load(image, data)
        small = _to_rgb(image)
        small.thumbnail((longest_px, longest_px))
        return to_array(_upright(small, image, size).image)
    except Exception:  # Nobody needs it: the ledger has said what is wrong.
        return None


def _upright(rgb: Image.Image, source: Image.Image, size: tuple[int, int]) -> Decoded:
    """Turn by the source's orientation. It must be loaded: PNG may carry EXIF behind the pixels, TIFF turns itself."""
    turn = _turn(source)
    width_px, height_px = size[::-1] if turn in SIDEWAYS else size
    icc = source.info.get("icc_profile")
    return Decoded(
        rgb if turn is None else rgb.transpose(turn),
        width_px,
        height_px,
        source.format or "",
        icc if isinstance(icc, bytes) else None,
    )


def _turn(source: Image.Image) -> Image.Transpose | None:
    try:
        return TURNS.get(source.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF that nobody can read, around a picture that everybody can.
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey_to_rgb(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise BrokenImage("unsupported", f"mode {image.mode} has no way to RGB ({error})") from None


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """RGB, made smaller by a whole number; strip by strip, or what lies between would take twice as much again."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image.reduce(factor)
    width, height = image.size
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = factor * max(1, STRIP_PIXELS // (factor * width))
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        small.paste(_to_rgb(strip).reduce(factor), (0, top // factor))
    return small


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Grey of 16 bit: 65535 is white. Deeper pixels that go beyond 16 bit have no agreed white."""
    grey_HW = np.asarray(image)
    low, high = grey_HW.min(), grey_HW.max()
    if image.mode == "F" or low < 0 or high > 65535:
        raise BrokenImage("unsupported", f"mode {image.mode} with pixels from {low} to {high}; expected 8 or 16 bit")
    return Image.fromarray(((grey_HW.astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """An RGB image as uint8 [H, W, 3]."""
    return np.array(image, np.uint8)


def center_crop(pixels_HWC: NDArray[np.uint8], crop_px: int) -> NDArray[np.uint8]:
    """The square in the middle, [crop_px, crop_px, 3], as a view; the offset is rounded down."""
    height, width = pixels_HWC.shape[:2]
    left, top, right, bottom = _middle(width, height, crop_px)
    return pixels_HWC[top:bottom, left:right]


def _middle(width: int, height: int, crop_px: int) -> tuple[int, int, int, int]:
    if min(height, width) < crop_px:
        raise ValueError(f"cannot crop {crop_px} px from an image of {width}x{height} px")
    left, top = (width - crop_px) // 2, (height - crop_px) // 2
    return left, top, left + crop_px, top + crop_px


def preprocess(data: bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """All that a client does: bytes of an image file to the model's input, uint8 [crop_px, crop_px, 3].

    Normalisation is inside the model file. Raises BrokenImage, as `decode` does.
    """
    image = decode_short(data, preprocessing.resize_short_px, preprocessing.interpolation).image
    return to_array(image.crop(_middle(*image.size, preprocessing.crop_px)))
