"""Whether bytes are the whole file of an image of a known kind and a fair size, as Pillow opens and loads it."""

import io
import warnings

# Image.open with a closed list of formats finds only plug-ins that are imported already.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from components.interchange.errors import BadInput
from components.interchange.file_kinds import ends, seems_to_be

# Closed: Pillow's other plug-ins run programs (EPS) or take text for pictures (TGA). A JPEG may turn out as MPO.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\x00", b"MM\x00*", b"\x00\x00\x00\x0cjP  ")
AVIF_BRANDS = (b"ftypavif", b"ftypavis")
BEYOND_PILLOW = ("unknown pixel mode", "cannot handle ")  # No file that was cut off gives these.
DECODED_COMPRESSIONS = "expected none, PackBits, LZW, Deflate, JPEG, LZMA or Zstandard"
MIN_SIDE_PX = 8
MAX_PIXELS = 200_000_000  # The largest phone cameras; a bomb claims more.
MAX_ASPECT = 4
MAX_SCANS = 100  # Of a progressive JPEG, which has about ten; each takes as long as all pixels do.
SCAN = b"\xff\xda"
# Bytes a pixel that decoding takes at its peak, measured at 36 megapixels: Pillow's own, and what its libraries hold.
LOADED_BYTES = 5
ALSO_HELD_BYTES = {"WEBP": 12, "JPEG2000": 15, "AVIF": 5}
COEFFICIENTS_BYTES = 6  # Of a progressive JPEG, however small it is drafted.

Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Pillow warns from there on and refuses from twice as many on; `_check_size` refuses both, in its own words.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# Of metadata that it passes over, such as tags beyond a file's end: without the file's name they help nobody.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class BrokenImage(BadInput):
    """Bytes that are no usable image. `reason` is one of a few words, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def opened(data: bytes) -> Image.Image:
    """An image by its content, whatever its name; its pixels are still to be loaded. Raises BrokenImage."""
    if not data:
        raise BrokenImage("empty", "the file has no bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(*image.size)
        return image
    except BrokenImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenImage("too large", f"at most {MAX_PIXELS:,} pixels are decoded ({error})") from None
    except UnidentifiedImageError:
        if beyond := _beyond_pillow(data):
            raise BrokenImage("unsupported", beyond) from None
        why = ""
    except Exception as error:  # A damaged header.
        why = f" ({error})"
    if data.startswith(BEGINNINGS) or data[4:12] in AVIF_BRANDS or _cut_webp(data):
        raise BrokenImage("truncated", f"the header does not decode{why}")
    found = seems_to_be(data)
    what = f"it seems to be {found}" if found else "it begins like none that is known"
    raise BrokenImage("not an image", f"{what}{why}; known are {', '.join(FORMATS)}")


def _cut_webp(data: bytes) -> bool:
    """Whether it begins as WebP does, whose first bytes sounds and films share."""
    return data.startswith(b"RIFF") and b"WEBP".startswith(data[8:12])


def _check_size(width_px: int, height_px: int) -> None:
    short, long = sorted((width_px, height_px))
    found = f"{width_px}x{height_px} px"
    if short < MIN_SIDE_PX:
        raise BrokenImage("too small", f"{found}; the short side must have at least {MIN_SIDE_PX} px")
    if width_px * height_px > MAX_PIXELS:
        raise BrokenImage("too large", f"{found}; at most {MAX_PIXELS:,} pixels are decoded")
    if long > MAX_ASPECT * short:
        raise BrokenImage("too elongated", f"{found}; sides may differ by at most {MAX_ASPECT}:1")


def _beyond_pillow(data: bytes) -> str | None:
    """Of a TIFF or JPEG that may be whole: that it has channels, or a compression, that the decoder does not know."""
    if unknown := _unknown_compression(data):
        return f"TIFF compression {unknown}; {DECODED_COMPRESSIONS}"
    for plugin in (TiffImagePlugin.TiffImageFile, JpegImagePlugin.JpegImageFile):
        try:
            plugin(io.BytesIO(data))
        except Exception as error:  # Image.open keeps it to itself.
            if str(error).startswith(BEYOND_PILLOW):
                return f"{error}; expected 1, 3 or 4 channels of 8 or 16 bit"
    return None


def _unknown_compression(data: bytes) -> int | None:
    """The number of a TIFF's compression, if Pillow has no decoder for it."""
    stream = io.BytesIO(data)
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
        stream.seek(tags.next)
        tags.load(stream)
        found = int(tags.get(TiffImagePlugin.COMPRESSION, 1))
    except Exception:  # Another format, or cut off.
        return None
    return None if found in TiffImagePlugin.COMPRESSION_INFO else found


def loading_bytes(image: Image.Image, size: tuple[int, int]) -> int:
    """About as much memory as `load` will take; `size` is the image's before it was drafted."""
    also_held = COEFFICIENTS_BYTES if image.info.get("progressive") else ALSO_HELD_BYTES.get(image.format or "", 0)
    return LOADED_BYTES * image.width * image.height + also_held * size[0] * size[1]


def load(image: Image.Image, data: bytes) -> None:
    """Decode all pixels; BrokenImage where the file is cut off, even where the decoder does not mind, or too slow."""
    if image.info.get("progressive") and (scans := data.count(SCAN)) > MAX_SCANS:
        raise BrokenImage("unsupported", f"a JPEG of {scans} scans; at most {MAX_SCANS} are decoded")
    try:
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            image.decodermaxblock = len(data)  # At once: in pieces of 64 kB large photographs take a fifth longer.
        image.load()
        if not ends(image.format, data):
            raise EOFError("no end-of-image marker")
    except Exception as error:  # Each of Pillow's plug-ins has errors of its own.
        if image.info.get("compression") == "webp":  # Of a TIFF; Pillow knows it, its libtiff mostly does not.
            raise BrokenImage("unsupported", f"TIFF compression webp ({error}); {DECODED_COMPRESSIONS}") from None
        raise BrokenImage("truncated", f"the {image.format} does not decode to its end ({error})") from None
