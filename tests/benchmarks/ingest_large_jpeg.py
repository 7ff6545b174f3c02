"""Ingest of 12-megapixel photographs against the plain loop: scaled decoding, all cores."""

import sys
import tempfile
from pathlib import Path

from tests.benchmarks.duel import Target, alternate, report
from tests.photographs import write_photographs
from tests.plain_loop import PEER_NAME, ingested_per_s, plain_per_s

NAMES = [f"{split}/{label}/{n}.jpg" for split in ("train", "val", "test") for label in ("a", "b") for n in range(6)]
FOLDER = Path(tempfile.gettempdir()) / "graft-photographs-4032x3024"


def main() -> int:
    """Run it and return the exit code."""
    source = write_photographs(FOLDER, NAMES, 4032, 3024)
    ours, peer = alternate(lambda: ingested_per_s(source, len(NAMES)), lambda: plain_per_s(source, len(NAMES)), n=5)
    mib = round(sum(path.stat().st_size for path in source.rglob("*.jpg")) / len(NAMES) / 2**20, 2)
    met = report(
        "ingest_large_jpeg",
        ours,
        peer,
        PEER_NAME,
        "images/s",
        Target(">=", 9),
        ("pillow",),
        mib_per_image=mib,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
