"""Memory of ingest at 100,000 images: `make test-scale`. GRAFT_SCALE_IMAGES sets another number."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.interchange.dataset import open_dataset

NUM_IMAGES = int(os.environ.get("GRAFT_SCALE_IMAGES", "100000"))
A_FOLDER = 1000
MOST_MIB = 1024


def write_folder(folder: Path, first: int) -> None:
    """Images of blots, no two alike."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(first)
    for number in range(first, min(first + A_FOLDER, NUM_IMAGES)):
        blots = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        blots.resize((72, 64), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_memory_stays_below_a_gib_at_a_hundred_thousand_images(encoding: str, tmp_path: Path) -> None:
    places = [
        (tmp_path / "source" / "ab"[first // A_FOLDER % 2] / str(first)) for first in range(0, NUM_IMAGES, A_FOLDER)
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(write_folder, places, range(0, NUM_IMAGES, A_FOLDER)))
    dataset = tmp_path / "dataset"
    flags = ["--source", tmp_path / "source", "--dataset", dataset, "--report", tmp_path / "report"]
    flags += ["--stored-size-px", "64", "--encoding", encoding]
    started = time.monotonic()
    with (tmp_path / "stderr").open("w") as told:
        child = subprocess.Popen([sys.executable, "-m", "components.ingest", *map(str, flags)], stderr=told)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds, peak_mib = time.monotonic() - started, usage.ru_maxrss / 1024
    assert child.returncode == 0, (tmp_path / "stderr").read_text()[-2000:]
    bytes_stored = sum(path.stat().st_size for path in dataset.glob("*.arrow"))
    print(
        f"\n{encoding}: {NUM_IMAGES:,} images, {bytes_stored / 2**20:,.0f} MiB of shards, "
        f"{NUM_IMAGES / seconds:,.0f} images/s, peak {peak_mib:,.0f} MiB"
    )
    assert len(open_dataset(dataset).samples()) > 0.99 * NUM_IMAGES
    assert peak_mib < MOST_MIB
