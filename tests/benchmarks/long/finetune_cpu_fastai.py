"""Fine-tuning's images a second on a CPU, all layers learning, against fastai's vision_learner in fp32, as it comes.

Same weights, images, split, crops and flips; reading the images is part of it on both sides, validation on none.
"""

import sys

from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.fabric import PACKAGES, fabric, weights_file
from tests.benchmarks.fastai_peer import fastai, fastai_version
from tests.benchmarks.finetune_cpu import NUM_IMAGES, warm_epoch


def main() -> int:
    """Run it and return the exit code."""
    with fabric(NUM_IMAGES) as place:
        weights = weights_file(place.folder)

        def peer() -> float:
            return float(fastai("speed", place.images, weights)["images_per_s"])

        found = alternate(lambda: warm_epoch(place), peer, n=3, warmups=0)
    name = f"fastai {fastai_version()} vision_learner"
    return 0 if report("finetune_cpu_fastai", *found, name, "images/s", Target(">=", 2), PACKAGES) else 1


if __name__ == "__main__":
    sys.exit(main())
