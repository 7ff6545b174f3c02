"""Bytes to pixels: orientation, modes, damage, sizes; what a client does is what the dataset stores."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from cykooz_resizer import CpuExtensions, FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray
from PIL import Image, ImageCms

from components.interchange import pixels
from components.interchange.image_files import BrokenImage
from components.interchange.pixels import center_crop, decode, decode_short, preprocess, resize_short, to_array
from components.interchange.preprocessing import Preprocessing
from tests.photographs import photograph

PREPROCESSING = Preprocessing(
    resize_short_px=40, interpolation="bicubic", crop_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
# What a viewer must do with the stored pixels, by EXIF orientation: in numpy, not in Pillow's words.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def noise(height: int = 24, width: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image, format: str = "PNG", orientation: int = 1, **options: object) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    if orientation != 1:
        options["exif"] = exif
    image.save(stream, format, **options)
    return stream.getvalue()


def refusal(data: bytes) -> BrokenImage:
    with pytest.raises(BrokenImage) as caught:
        decode(data)
    return caught.value


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(orientation: int, format: str) -> None:
    stored = noise()
    decoded = decode(encoded(Image.fromarray(stored), format, orientation))
    expected = UPRIGHT[orientation](stored)
    assert np.array_equal(to_array(decoded.image), expected)
    assert (decoded.height_px, decoded.width_px) == expected.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_photo_is_drafted_and_differs_little(orientation: int) -> None:
    # Odd sizes: a draft is rounded up, and the picture reaches not quite to its edge.
    photo = Image.fromarray(noise(30, 50)).resize((1001, 601), Image.Resampling.BICUBIC)
    data = encoded(photo, "JPEG", orientation, quality=95)
    found = decode_short(data, 40, "bicubic")
    whole = decode(data)
    assert (found.width_px, found.height_px) == whole.image.size == UPRIGHT[orientation](np.array(photo)).shape[1::-1]
    expected = np.asarray(whole.image.resize(found.image.size, Image.Resampling.BICUBIC))
    assert to_array(found.image).shape == expected.shape
    difference = np.abs(to_array(found.image).astype(int) - expected)
    assert difference.max() <= 6
    assert difference.mean() < 0.5


@pytest.mark.parametrize("name", ["RGBA", "LA", "L", "P", "transparent P", "I;16"])
def test_a_large_picture_is_made_smaller_in_strips_as_it_would_be_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = Image.fromarray(noise(307, 401)).convert("RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    deep = Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 251)
    image = deep if name == "I;16" else photo.convert(name.split()[-1])
    data = encoded(image, "PNG", **({"transparency": 7} if name == "transparent P" else {}))
    whole = decode_short(data, 20, "bicubic").image
    monkeypatch.setattr(pixels, "STRIP_PIXELS", 1)
    assert np.array_equal(to_array(decode_short(data, 20, "bicubic").image), to_array(whole))


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return encoded(image, "PNG", **({"transparency": 1} if transparent else {}))


def deep_png(value: int) -> bytes:
    return encoded(Image.fromarray(np.full((16, 16), value, np.uint16)))


MODES = {
    "grey": (encoded(Image.new("L", (16, 16), 70)), (70, 70, 70)),
    "grey with a transparent level": (encoded(Image.new("L", (16, 16), 70), transparency=70), (255, 255, 255)),
    "1 bit, white": (encoded(Image.new("1", (16, 16), 1)), (255, 255, 255)),
    "16 bit": (deep_png(0x8080), (128, 128, 128)),
    "16 bit, white": (deep_png(65535), (255, 255, 255)),
    "16 bit, rounded": (deep_png(257 * 9 + 129), (10, 10, 10)),
    "16 bit TIFF": (encoded(Image.fromarray(np.full((16, 16), 0x4040, np.uint16)), "TIFF"), (64, 64, 64)),
    "palette": (palette(False), (200, 100, 50)),
    "palette, transparent": (palette(True), (255, 255, 255)),
    "grey and alpha": (encoded(Image.new("LA", (16, 16), (0, 0))), (255, 255, 255)),
    "opaque": (encoded(Image.new("RGBA", (16, 16), (10, 20, 30, 255))), (10, 20, 30)),
    "half transparent": (encoded(Image.new("RGBA", (16, 16), (255, 0, 0, 51))), (255, 204, 204)),
    "CMYK": (encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
    "CMYK TIFF": (encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "TIFF"), (0, 255, 255)),
    "GIF": (encoded(Image.new("P", (16, 16), 0), "GIF"), (0, 0, 0)),
    "PPM": (encoded(Image.new("RGB", (16, 16), (1, 2, 3)), "PPM"), (1, 2, 3)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_rgb(name: str) -> None:
    data, colour = MODES[name]
    pixels = to_array(decode(data).image)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - colour).max() <= (1 if name == "CMYK" else 0)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_colour_profile_changes_no_pixel(format: str) -> None:
    """Training and serving would have to convert alike; nobody's server does."""
    photo = Image.fromarray(noise(24, 32))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain, profiled = encoded(photo, format), encoded(photo, format, icc_profile=profile)
    assert profile in profiled or len(profiled) > len(plain)
    assert np.array_equal(to_array(decode(plain).image), to_array(decode(profiled).image))


def test_ycck_is_told_from_cmyk_by_the_adobe_marker() -> None:
    # Neutral chroma: with transform 2 in the Adobe marker the first channel is the luma of C, M and Y alike.
    data = encoded(Image.new("CMYK", (16, 16), (255 - 200, 127, 127, 0)), "JPEG", quality=100)
    adobe = data.index(b"Adobe")
    ycck = data[: adobe + 11] + b"\x02" + data[adobe + 12 :]
    assert np.abs(to_array(decode(ycck).image).astype(int) - (255 - 200)).max() <= 2


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_refused(format: str, share: float) -> None:
    data = encoded(Image.fromarray(noise(64, 64)), format)
    assert decode(data).image.size == (64, 64)
    assert refusal(data[: int(len(data) * share)]).reason in ("truncated", "not an image")


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_cut_or_padded_with_zeros_is_never_filled_with_grey(options: dict[str, bool]) -> None:
    # The thumbnail in EXIF has an end-of-image marker of its own.
    exif = b"Exif\0\0" + encoded(Image.new("RGB", (8, 8)), "JPEG")
    data = encoded(Image.fromarray(noise(64, 64)), "JPEG", **options)
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert with_thumbnail.count(b"\xff\xd9") == 2
    for whole in (data, with_thumbnail):
        for broken in (whole[:-2], whole[: len(whole) * 3 // 4], whole[: len(whole) * 3 // 4] + bytes(len(whole))):
            with pytest.raises(BrokenImage, match="truncated: the JPEG does not decode to its end"):
                decode(broken)
            with pytest.raises(BrokenImage, match="truncated: the JPEG does not decode to its end"):
                decode_short(broken, 8, "bicubic")


def test_a_photo_with_a_second_picture_in_it_shows_the_first() -> None:
    first, second = noise(seed=1), noise(seed=2)
    options = {"save_all": True, "append_images": [Image.fromarray(second)], "quality": 100, "subsampling": 0}
    data = encoded(Image.fromarray(first), "MPO", **options)
    assert np.abs(to_array(decode(data).image).astype(int) - first).mean() < 2


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    data = encoded(Image.fromarray(noise()), "JPEG") + b"a film of the motion photo \xff\xda and so on"
    assert decode(data).width_px == 40


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"root:x:0:0:root:/root:/bin/bash\n", "it begins like none that is known"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "it seems to be PostScript"),
        (b"\n<!DOCTYPE HTML><title>404</title>", "it seems to be a web page"),
        (b'<?xml version="1.0"?><svg/>', "it seems to be SVG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it seems to be a pointer of Git LFS"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it seems to be HEIC"),
        (b"RIFF\x24\x08\0\0WAVEfmt ", "it seems to be a sound"),
        (b"RIFF\x24\x08\0\0AVI LIST", "it seems to be a film (AVI)"),
        (bytes(4096), "it seems to be zeros alone"),
    ],
)
def test_what_is_no_image_is_named_so_without_a_word_of_what_it_says(data: bytes, found: str) -> None:
    refused = refusal(data)
    assert refused.reason == "not an image"
    assert refused.detail.startswith(found)
    assert "root" not in refused.detail


@pytest.mark.parametrize("format", ["PNG", "JPEG2000", "AVIF"])
def test_a_file_cut_anywhere_behind_its_first_bytes_is_truncated(format: str) -> None:
    data = encoded(Image.fromarray(noise(64, 48)), format)
    places = sorted({*range(12, len(data), 97), *range(len(data) - 24, len(data)), 212})  # OpenJPEG took 212 bytes.
    assert {place: refusal(data[:place]).reason for place in places} == dict.fromkeys(places, "truncated")


def test_a_header_that_breaks_off_is_truncated_and_nothing_is_empty() -> None:
    assert refusal(encoded(Image.fromarray(noise()), "JPEG")[:100]).reason == "truncated"
    assert refusal(encoded(Image.fromarray(noise()))[:20]).reason == "truncated"
    assert refusal(b"").reason == "empty"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings hardly a pixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (100_000, 100_000, "too large"),
        (15_000, 15_000, "too large"),
        (7, 20, "too small"),
        (20, 7, "too small"),
        (81, 20, "too elongated"),
        (20, 81, "too elongated"),
    ],
)
def test_sizes_out_of_bounds_are_refused_from_the_header(width: int, height: int, reason: str) -> None:
    assert refusal(png_header(width, height)).reason == reason


def test_what_is_too_large_is_refused_without_a_warning_of_pillows(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png_header(15_000, 15_000))
    program = "import sys\nfrom pathlib import Path\nfrom components.interchange.pixels import decode\n"
    program += "try:\n    decode(Path(sys.argv[1]).read_bytes())\nexcept Exception as error:\n    print(error)"
    argv = [sys.executable, "-c", program, str(tmp_path / "large.png")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert (done.stdout.startswith("too large: 15000x15000 px"), done.stderr) == (True, "")


def test_the_bounds_themselves_are_allowed() -> None:
    assert decode(encoded(Image.new("RGB", (32, 8)))).width_px == 32


def test_pixels_without_an_agreed_white_are_refused() -> None:
    data = encoded(Image.fromarray(np.full((16, 16), 1e6, np.float32)), "TIFF")
    assert refusal(data).reason == "unsupported"
    assert "expected 8 or 16 bit" in refusal(data).detail


def test_whole_files_of_channels_that_pillow_does_not_know_are_not_called_truncated() -> None:
    tiff = encoded(Image.fromarray(np.zeros((16, 16), np.float32)), "TIFF")
    doubles = tiff.replace(struct.pack("<HHII", 258, 3, 1, 32), struct.pack("<HHII", 258, 3, 1, 64))
    jpeg = encoded(Image.new("RGB", (32, 16)), "JPEG")
    twelve_bit = jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    for data, found in ((doubles, "unknown pixel mode"), (twelve_bit, "cannot handle 12-bit layers")):
        assert str(refusal(data)) == f"unsupported: {found}; expected 1, 3 or 4 channels of 8 or 16 bit"


def test_a_tiff_of_a_compression_that_pillow_does_not_know_is_not_called_truncated() -> None:
    tiff = encoded(Image.new("RGB", (16, 16)), "TIFF")
    of_a_slide_scanner = tiff.replace(struct.pack("<HHII", 259, 3, 1, 1), struct.pack("<HHII", 259, 3, 1, 33003))
    assert str(refusal(of_a_slide_scanner)).startswith("unsupported: TIFF compression 33003; expected none, ")
    assert refusal(of_a_slide_scanner[:30]).reason == refusal(tiff[:30]).reason == "truncated"


def test_a_tiff_of_webp_is_not_called_truncated() -> None:
    tiff = encoded(Image.new("RGB", (16, 16)), "TIFF")
    webp = tiff.replace(struct.pack("<HHII", 259, 3, 1, 1), struct.pack("<HHII", 259, 3, 1, 50001))
    assert str(refusal(webp)).startswith("unsupported: TIFF compression webp (")


@pytest.mark.parametrize(("size", "resized"), [((100, 50), (40, 20)), ((50, 100), (20, 40)), ((33, 47), (20, 28))])
def test_the_short_side_is_resized_and_the_aspect_ratio_kept(size: tuple[int, int], resized: tuple[int, int]) -> None:
    assert resize_short(Image.new("RGB", size), 20, "bilinear").size == resized


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_resizing_is_antialiased(interpolation: str) -> None:
    checkers = (np.indices((160, 160)).sum(0) % 2 * 255).astype(np.uint8)
    small = resize_short(Image.fromarray(checkers).convert("RGB"), 10, interpolation)  # type: ignore[arg-type]
    assert np.abs(to_array(small).astype(int) - 127).max() <= 3


def test_the_centre_crop_rounds_its_offset_down_and_refuses_to_pad() -> None:
    pixels = noise(7, 10)
    assert np.array_equal(center_crop(pixels, 4), pixels[1:5, 3:7])
    with pytest.raises(ValueError, match="cannot crop 8 px from an image of 10x7 px"):
        center_crop(pixels, 8)


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (64, 64)])
def test_preprocessing_is_decode_resize_crop(size: tuple[int, int]) -> None:
    data = encoded(Image.fromarray(noise(*size)))
    found = preprocess(data, PREPROCESSING)
    image = resize_short(Image.fromarray(noise(*size)), 40, "bicubic")
    assert found.shape == (32, 32, 3)
    assert found.flags.c_contiguous
    assert np.array_equal(found, center_crop(to_array(image), 32))


def test_preprocessing_says_in_words_what_is_wrong_with_a_file() -> None:
    with pytest.raises(BrokenImage, match="not an image: it begins like none that is known; known are JPEG, "):
        preprocess(b"nonsense", PREPROCESSING)


@pytest.mark.parametrize("short_px", [100, 145, 224])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_photograph_reduced_first_is_within_2_of_255_of_full_decoding_and_pillows_filter(
    format: str, short_px: int
) -> None:
    data = encoded(photograph(1200, 900, seed=0), format)
    for interpolation in ("bilinear", "bicubic", "lanczos"):
        found = decode_short(data, short_px, interpolation).image
        whole = decode(data).image.resize(found.size, Image.Resampling[interpolation.upper()])
        assert np.abs(np.asarray(found).astype(int) - np.asarray(whole)).mean() < 1


def test_resizing_is_the_same_with_and_without_the_processors_vector_units() -> None:
    source = ImageData(300, 200, PixelType.U8x3, noise(200, 300).tobytes())
    options = ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom), use_alpha=False)
    found = set()
    for extensions in (None, CpuExtensions.none):
        resizer, target = Resizer(), ImageData(128, 96, PixelType.U8x3)
        if extensions is not None:
            resizer.cpu_extensions = extensions
        resizer.resize(source, target, options)
        found.add(target.get_buffer())
    assert len(found) == 1
