"""Ingest of the 2,000 fabric images of 250 x 250 pixels against the plain loop."""

import sys
from pathlib import Path

from conformal_clip_data import textile_simulated_root

from tests.benchmarks.duel import Target, alternate, report
from tests.plain_loop import PEER_NAME, ingested_per_s, plain_per_s

NUM_IMAGES = 2000


def main() -> int:
    """Run it and return the exit code."""
    source = Path(str(textile_simulated_root()))
    ours, peer = alternate(lambda: ingested_per_s(source, NUM_IMAGES), lambda: plain_per_s(source, NUM_IMAGES), n=7)
    met = report("ingest_small_jpeg", ours, peer, PEER_NAME, "images/s", Target(">=", 2.5), ("pillow",))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
