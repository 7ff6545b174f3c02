"""Fine-tuning's images a second on a CPU, all layers learning, against a plain fp32 loop.

Same weights, images, split, crops and flips; reading the images is part of it on both sides, validation on none. Of two
epochs each side's second counts: the first pays for memory and kernels that a training of minutes pays for once.
GRAFT_BENCH_IMAGES says how many images (60 % of them train).
"""

import os
import shutil
import sys

from components.finetune.spec import Finetune
from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.fabric import BACKBONE, BATCH, PACKAGES, WEIGHTS, Fabric, fabric, step
from tests.benchmarks.plain_peer import plain

NUM_IMAGES, TURNS = int(os.environ.get("GRAFT_BENCH_IMAGES", "500")), 3


def warm_epoch(place: Fabric) -> float:
    """Images a second of the step's second epoch of two."""
    out, start = place.folder / "finetune", [f"--backbone={BACKBONE}", f"--weights={WEIGHTS}"]
    shutil.rmtree(out, ignore_errors=True)
    said = step(Finetune, out, [f"--dataset={place.dataset}", *start, f"--batch-size={BATCH}", "--num-epochs=2"])
    [_, images_per_s] = said["images_per_s"]
    return float(images_per_s)


def main() -> int:
    """Run it and return the exit code."""
    with fabric(NUM_IMAGES) as place:
        found = alternate(
            lambda: warm_epoch(place), lambda: plain("all", place.images)["images_per_s"], n=TURNS, warmups=0
        )
    name = "plain fp32 loop, ImageFolder and DataLoader"
    return 0 if report("finetune_cpu", *found, name, "images/s", Target(">=", 2), PACKAGES) else 1


if __name__ == "__main__":
    sys.exit(main())
