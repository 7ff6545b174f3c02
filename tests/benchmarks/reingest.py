"""Ingest with 1 % new files, the rest known from an earlier dataset, against the same ingest from scratch.

Photographs of 3 megapixels, and the 2,000 fabric images of 250 x 250 pixels, which take little to decode.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from conformal_clip_data import textile_simulated_root

from components.ingest.spec import Ingest
from components.interchange.cli import main as run_step
from tests.benchmarks.duel import Target, alternate, report
from tests.photographs import write_photographs
from tests.plain_loop import SHORT_PX, ingested_per_s

PEER_NAME = "the same ingest from scratch"
NUM_PHOTOGRAPHS = 300
NAMES = [f"{label}/{number}.jpg" for number in range(NUM_PHOTOGRAPHS // 2) for label in ("a", "b")]
FOLDER = Path(tempfile.gettempdir()) / "graft-photographs-2048x1536"


def contest(name: str, source: Path, scratch: Path) -> bool:
    """One line: all of a source but 1 % was ingested before. True where the target is met."""
    files = sorted(source.rglob("*.jpg"))
    for file in files:
        os.utime(file, (1, 1))
    new = files[::100]
    aside = {file: scratch / str(number) for number, file in enumerate(new)}
    for file, place in aside.items():
        shutil.move(file, place)
    places = [f"--{output}={scratch / output}" for output in ("dataset", "report")]
    failed = run_step(Ingest, [f"--source={source}", f"--stored-size-px={SHORT_PX}", *places])
    for file, place in aside.items():
        shutil.move(place, file)
    if failed:
        raise RuntimeError("the earlier ingest failed")
    reuse = f"--reuse={scratch / 'dataset'}"
    ours, peer = alternate(
        lambda: ingested_per_s(source, len(files), reuse), lambda: ingested_per_s(source, len(files)), n=5
    )
    sizes = {"files": len(files), "new_files": len(new)}
    return report(name, ours, peer, PEER_NAME, "images/s", Target(">=", 20), ("pillow",), **sizes)


def main() -> int:
    """Run it and return the exit code."""
    photographs = write_photographs(FOLDER, NAMES, 2048, 1536)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        fabric = Path(other) / "fabric"
        shutil.copytree(str(textile_simulated_root()), fabric)
        (Path(other) / "scratch").mkdir()
        met = [
            contest("reingest_photographs", photographs, Path(one)),
            contest("reingest_small", fabric, Path(other) / "scratch"),
        ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
