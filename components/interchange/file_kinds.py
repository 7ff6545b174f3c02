"""What a file that is no known image seems to be: a name of a closed list, never a byte of it.

A manifest may name any file of the machine, and a ledger travels further than what it names.
"""

BEGINNINGS = (
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "compressed by gzip"),
    (0, b"8BPS", "Photoshop's"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, whose file was not fetched"),
    (128, b"DICM", "DICOM"),
    (8, b"AVI ", "a film (AVI)"),
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
