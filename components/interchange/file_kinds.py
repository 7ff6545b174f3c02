"""What a file is by how it begins, and whether it goes on to its end.

What is no known image seems to be something of a closed list; no byte of it is quoted: a manifest may name any file of
the machine, and a ledger travels further than what it names.
"""

BEGINNINGS = (
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "compressed by gzip"),
    (0, b"BZh", "compressed by bzip2"),
    (0, b"\xfd7zXZ", "compressed by xz"),
    (0, b"(\xb5/\xfd", "compressed by zstd"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"8BPS", "Photoshop's"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, whose file was not fetched"),
    (128, b"DICM", "DICOM"),
    (8, b"AVI ", "a film (AVI)"),
    (8, b"WAVE", "a sound"),
    (0, b"OggS", "a sound or a film"),
    *((4, b"ftyp" + brand, "HEIC, which a JPEG can be made of") for brand in (b"heic", b"heix", b"mif1", b"msf1")),
    (4, b"ftyp", "a film (MP4)"),
)
MARKUP = ((b"<!doctype html", "a web page"), (b"<html", "a web page"), (b"<svg", "SVG"), (b"<?xml", "XML"))
HEAD_BYTES = 512


def seems_to_be(data: bytes) -> str | None:
    """The kind of a file by how it begins; None where it is none that is known."""
    head = data[:HEAD_BYTES]
    for place, beginning, kind in BEGINNINGS:
        if head.startswith(beginning, place):
            return kind
    markup = head.lstrip().lower()
    for beginning, kind in MARKUP:
        if markup.startswith(beginning):
            return "SVG" if b"<svg" in markup else kind
    return None if data.strip(b"\0") else "zeros alone, as of a copy that was never finished"


def ends(kind: str | None, data: bytes) -> bool:
    """Whether the mark is there that stands at the end of a format whose decoder does without."""
    if kind in ("JPEG", "MPO"):
        return _jpeg_ends(data)
    if kind == "PNG":
        return data.rfind(b"IEND\xaeB`\x82") >= 0
    if kind == "JPEG2000":  # OpenJPEG makes a grey picture of a header. No packet holds what looks like a marker.
        return data.rfind(b"\xff\xd9", data.find(b"\xff\x4f\xff\x51")) >= 0
    return True


def _jpeg_ends(data: bytes) -> bool:
    """Whether an end-of-image marker follows the first scan. libjpeg fills a file padded with zeros with grey.

    The header is skipped segment by segment: an EXIF thumbnail has an end-of-image marker of its own.
    """
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        is_fill = data[position + 1 : position + 2] == b"\xff"
        position += 1 if is_fill else 2 + int.from_bytes(data[position + 2 : position + 4])
    return data.rfind(b"\xff\xd9", position) >= 0  # From the end, where it usually is.
