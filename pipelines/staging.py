"""Folders for what is being made, on the store's own disk, so that it can be moved to its place in one go."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staging(tmp: Path) -> Iterator[Path]:
    """A new folder in `tmp`; gone afterwards, whatever happens. What killed runs left there goes first."""
    sweep(tmp)
    tmp.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=tmp, prefix=f"{_host()}-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(tmp: Path) -> None:
    """Remove what killed runs of this host left in `tmp`."""
    for folder in tmp.glob(f"{_host()}-*"):
        pid = folder.name.removeprefix(f"{_host()}-").split("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    return os.uname().nodename.replace("-", "_")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
