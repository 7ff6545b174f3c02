"""What decides, beside the parameters, what becomes of a file's bytes: packages and code."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from components.interchange.artifact import file_digest

PACKAGES = ("pillow", "cykooz-resizer", "numpy")
CODE = ("ingest/colour_profiles.py", "ingest/perceptual.py", "ingest/pictures.py", "ingest/statistics.py",
        "interchange/file_kinds.py", "interchange/image_files.py", "interchange/pixels.py",
        "interchange/stored_images.py")  # fmt: skip


@cache
def decided_by() -> dict[str, str]:
    """Versions, and a digest of the code: the same where the same bytes become the same picture."""
    root = Path(__file__).parents[1]
    return {
        **{f"the version of {package}": version(package) for package in PACKAGES},
        "the code that decodes": hashlib.sha256(
            "".join(file_digest(root / name) for name in CODE).encode()
        ).hexdigest(),
    }
