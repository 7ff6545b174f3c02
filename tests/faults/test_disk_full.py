"""A full disk: one readable error, and nothing half-written is to be seen. The disk is a tmpfs of a few megabytes."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines import upkeep
from pipelines.store import open_store
from tests.e2e.conftest import Run

Mount = Callable[[Path, str], None]


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of that size at `folder`; what it yields gives it another."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(options, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here: it takes root's rights")

    def resize(wanted: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={wanted}", str(folder)], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, left_kib: int) -> None:
    """Leave so much room."""
    (disk / "filler").unlink(missing_ok=True)
    stat = subprocess.run(["df", "--output=avail", "-k", str(disk)], capture_output=True, text=True, check=True).stdout
    with (disk / "filler").open("wb") as stream:
        stream.write(b"\0" * max(0, (int(stat.split()[-1]) - left_kib) << 10))


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["inline", "process"])
def test_a_full_disk_in_every_step(tiny_run: Run, tiny_source: Path, tmp_path: Path, runner: str) -> None:
    """Room is given in small steps, so that one step after the other is where it ends."""
    stopped: list[tuple[int, str]] = []
    with tmpfs(tmp_path / "disk", "64m"):
        store = tmp_path / "disk" / "store"
        for left_kib in (0, 40, 300, 700, 1100, 1500, 1800, 2200, 2600, 3000, 3400, 3800, 4400, 5200, 6400, 20_000):
            fill(tmp_path / "disk", left_kib)
            ended = tiny_run(tiny_source, store, runner=runner)
            if ended.code == 0:
                break
            assert ended.code == 2, ended.err
            assert "Traceback" not in ended.err and "No space left on device" in ended.err
            stopped.append((len(list((store / "keys").glob("*.json"))) if store.exists() else 0, ended.err[-200:]))
            (tmp_path / "disk" / "filler").unlink()
            assert upkeep.faults(open_store(str(store))) == {}
            assert not list((store / "tmp").glob("*/*")) if store.exists() else True
        assert ended.code == 0, ended.err
        print(f"{runner}: stopped {len(stopped)} times, after so many steps: {[steps for steps, _ in stopped]}")
        assert len({steps for steps, _ in stopped}) >= 4
