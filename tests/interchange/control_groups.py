"""Linux's control groups as files."""

from collections.abc import Mapping
from pathlib import Path


def write_groups(folder: Path, own: str, files: Mapping[str, str]) -> Path:
    """The file that names a process's groups; `files` lie in the folder, where they are mounted."""
    for name, text in {"cgroup": own, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "cgroup"
