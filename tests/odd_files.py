"""A corpus of hostile and odd files, made on the spot: what cameras, copies and attackers leave among images."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

TAKEN = "taken"
Corpus = dict[str, str]


def picture(seed: int, width: int = 24, height: int = 20, channels: int = 3) -> Image.Image:
    """Noise, another one for every seed."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def packed(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A small PNG whose header promises any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def truncations() -> Iterator[tuple[str, bytes, str]]:
    """Whole files of many formats, cut at many places behind their first bytes."""
    for number, kind in enumerate(("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000")):
        data = packed(picture(100 + number, 64, 48), kind)
        shares = (0.05, 0.3, 0.6, 0.9, 0.98) if kind == "JPEG" else (0.1, 0.5, 0.95)
        for share in shares:
            reason = "not an image|truncated" if share <= 0.1 else "truncated"
            yield f"cut {kind} {share:g}.{kind.lower()}", data[: int(share * len(data))], reason


def no_images() -> Iterator[tuple[str, bytes, str]]:
    """Files that are something else, whatever they are called."""
    yield "empty.png", b"", "empty"
    for number, data in enumerate(
        (b"x", bytes(4096), b"<html><body>404</body></html>", b"%PDF-1.7\n", b"PK\x03\x04zip")
    ):
        yield f"no image {number}.jpg", data, "not an image"
    yield "drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "not an image"
    yield "program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(/etc/passwd) (r) file\n", "not an image"
    yield "git-lfs.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "not an image"
    yield "only a beginning.jpg", b"\xff\xd8\xff\xe0", "truncated"
    yield "zeros at the end.jpg", packed(picture(1, 64, 48), "JPEG")[:1500] + bytes(3000), "truncated"


def sizes() -> Iterator[tuple[str, bytes, str]]:
    """Too small, too long, and bombs."""
    yield "1x1.png", packed(picture(2, 1, 1), "PNG"), "too small"
    yield "7 px.png", packed(picture(3, 7, 20), "PNG"), "too small"
    yield "65535x1.png", packed(Image.new("L", (65535, 1)), "PNG"), "too small"
    yield "65535x8.png", packed(Image.new("L", (65535, 8)), "PNG"), "too elongated"
    yield "5 to 1.png", packed(picture(4, 100, 20), "PNG"), "too elongated"
    yield "bomb.png", png_that_claims(60_000, 60_000), "too large"
    yield "claims more.png", png_that_claims(3000, 3000), "truncated"
    yield "nothing wide.png", png_that_claims(0, 100), "not an image|truncated|too small"


def odd_but_good() -> Iterator[tuple[str, bytes, str]]:
    """What decodes, though not everywhere."""
    for orientation in (*range(10), 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"turned {orientation}.jpg", packed(picture(200 + orientation % 99), "JPEG", exif=exif), TAKEN
    yield "broken exif.jpg", packed(picture(5), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff"), TAKEN
    headless = b"Exif\x00\x00\x01M\x00*\x00\x00\x00\x08\x00\x00"
    for number, kind in enumerate(("JPEG", "PNG", "WEBP")):
        yield f"exif without a header.{kind.lower()}", packed(picture(50 + number), kind, exif=headless), TAKEN
    yield "garbage exif.jpg", packed(picture(6), "JPEG", exif=b"Exif\x00\x00" + bytes(range(200))), TAKEN
    yield "progressive.jpg", packed(picture(7), "JPEG", progressive=True), TAKEN
    scans = packed(picture(31, channels=1), "JPEG", progressive=True)
    yield "many scans.jpg", scans[:-2] + 100 * scans[scans.rindex(b"\xff\xda") : -2] + b"\xff\xd9", "unsupported"
    yield "grey.jpg", packed(picture(8, channels=1), "JPEG"), TAKEN
    cmyk = packed(picture(9, channels=4).convert("CMYK"), "JPEG")
    yield "cmyk.jpg", cmyk, TAKEN
    adobe = cmyk.index(b"Adobe")
    yield "ycck.jpg", cmyk[: adobe + 11] + b"\x02" + cmyk[adobe + 12 :], TAKEN
    deep = np.random.default_rng(10).integers(0, 65536, (20, 24)).astype(np.uint16)
    yield "16 bit.png", packed(Image.fromarray(deep), "PNG"), TAKEN
    yield "16 bit.tiff", packed(Image.fromarray(deep[::-1].copy()), "TIFF"), TAKEN
    yield "float.tiff", packed(Image.fromarray(deep.astype(np.float32)), "TIFF"), "unsupported"
    yield "1 bit.png", packed(picture(11, channels=1).convert("1"), "PNG"), TAKEN
    yield "palette.png", packed(picture(12).convert("P"), "PNG", transparency=3), TAKEN
    yield "alpha.png", packed(picture(13, channels=4), "PNG"), TAKEN
    yield "alpha.webp", packed(picture(14, channels=4), "WEBP"), TAKEN
    yield "grey alpha.png", packed(picture(15, channels=4).convert("LA"), "PNG"), TAKEN
    frames = [picture(seed) for seed in (17, 18)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        first = picture(300 + len(kind) + ord(kind[0]))
        yield f"film.{kind.lower()}", packed(first, kind, save_all=True, append_images=frames), TAKEN
    yield "png.jpg", packed(picture(19), "PNG"), TAKEN
    yield "no extension", packed(picture(20), "PNG"), TAKEN
    yield "more behind.jpg", packed(picture(21), "JPEG") + b"trailing bytes" * 9, TAKEN
    yield "jpeg2000.jp2", packed(picture(22), "JPEG2000"), TAKEN
    yield "av1.avif", packed(picture(29), "AVIF"), TAKEN
    yield "plain.ppm", packed(picture(23), "PPM"), TAKEN
    yield "n" * 240 + ".png", packed(picture(24), "PNG"), TAKEN
    yield "ünï cødé 日本 🙂 'quoted' \"twice\" %20#?.png", packed(picture(25), "PNG"), TAKEN
    yield "-rf.png", packed(picture(26), "PNG"), TAKEN
    yield "a\nline.png", packed(picture(27), "PNG"), TAKEN


def write_corpus(root: Path) -> Corpus:
    """Write all of it under two classes and return what must become of each path: TAKEN or a reason (`a|b`: either)."""
    expected: Corpus = {}
    for label in ("plain", "größer & schöner class"):
        (root / label).mkdir(parents=True)
        for number in range(40):
            path = root / label / f"good {number}.png"
            path.write_bytes(packed(picture(1000 + 100 * len(label) + number), "PNG"))
            expected[path.relative_to(root).as_posix()] = TAKEN
    folder = root / "plain"
    for name, data, fate in (*truncations(), *no_images(), *sizes(), *odd_but_good()):
        (folder / name).write_bytes(data)
        expected[f"plain/{name}"] = fate
    return expected


def add_what_only_a_disk_has(root: Path) -> Corpus:
    """Links, pipes and names that no text can hold."""
    folder = root / "plain"
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nowhere.png").symlink_to("../gone.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "a folder.png").mkdir()
    (folder / "back").symlink_to("..", target_is_directory=True)
    name = os.fsencode(folder) + b"/latin \xfc.png"
    Path(os.fsdecode(name)).write_bytes(packed(picture(28), "PNG"))
    return {
        "plain/loop.png": "missing|unreadable",
        "plain/nowhere.png": "missing",
        "plain/pipe.png": "not an image",
        "plain/latin \ufffd.png": TAKEN,
    }
