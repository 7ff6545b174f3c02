"""Which code made a model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from components.interchange.artifact import file_digest


def code_digest(root: Path, packages: Sequence[str]) -> str:
    """sha256 over the paths and contents of the Python files of some packages below `root`."""
    files = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    lines = [f"{file_digest(path)}  {path.relative_to(root).as_posix()}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
