"""The name of an image's ICC colour profile, read without trusting a byte of it: pixels are taken as they are.

A profile is a header of 128 bytes, a table of tags (signature, offset, size), and the tags' contents, big-endian:
ICC.1:2022, section 7. Its `desc` tag is text (`mluc`, UTF-16, or in version 2 `desc`, ASCII).
"""

import hashlib
from struct import error as too_short
from struct import unpack_from

HEADER_BYTES, MOST_TAGS, LONGEST = 128, 100, 60


def profile_name(profile: bytes | None) -> str | None:
    """What the profile calls itself, or `unnamed` and how its sha256 begins; None without a profile."""
    if not profile:
        return None
    try:
        name = _described(profile)
    except (too_short, UnicodeDecodeError):
        name = ""
    return name or f"unnamed ({hashlib.sha256(profile).hexdigest()[:12]})"


def _described(profile: bytes) -> str:
    (num_tags,) = unpack_from(">I", profile, HEADER_BYTES)
    for tag in range(min(num_tags, MOST_TAGS)):
        signature, offset, size = unpack_from(">4sII", profile, HEADER_BYTES + 4 + 12 * tag)
        if signature == b"desc":
            return _text(profile[offset : offset + size])
    return ""


def _text(content: bytes) -> str:
    if content[:4] == b"mluc":  # The first of its languages.
        length, offset = unpack_from(">II", content, 20)
        text = content[offset : offset + length].decode("utf-16-be")
    else:
        (length,) = unpack_from(">I", content, 8)
        text = content[12 : 12 + length].decode("ascii")
    return "".join(letter for letter in text if letter.isprintable()).strip()[:LONGEST]
