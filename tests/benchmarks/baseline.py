"""The baseline step against five epochs of SGD on the head over a frozen backbone, as tutorials train it.

The peer: ImageFolder, DataLoader, the backbone in fp32 and eval mode, forward every epoch, val after each; its best
epoch counts. Ours is the whole step: weights, features, a fit for each penalty, classifier and report. Ingest stands
beside it: it is done once for both training steps. GRAFT_BENCH_IMAGES says how many images (2,000 are all).
"""

import os
import shutil
import sys
import time

from components.feature_extraction.spec import FeatureExtraction
from components.interchange.report import read_report
from tests.benchmarks.duel import Target, alternate, report
from tests.benchmarks.fabric import BACKBONE, PACKAGES, WEIGHTS, Fabric, fabric, step
from tests.benchmarks.plain_peer import EPOCHS, plain

NUM_IMAGES, TURNS = int(os.environ.get("GRAFT_BENCH_IMAGES", "800")), 2


def fitted(place: Fabric, top1s: list[float]) -> float:
    """Seconds of the step."""
    out, started = place.folder / "baseline", time.perf_counter()
    shutil.rmtree(out, ignore_errors=True)
    step(FeatureExtraction, out, [f"--dataset={place.dataset}", f"--backbone={BACKBONE}", f"--weights={WEIGHTS}"])
    seconds = time.perf_counter() - started
    row = read_report(out / "report").row("top1", "baseline", "val")
    assert row is not None and isinstance(row.value, float)
    top1s.append(row.value)
    return seconds


def trained(place: Fabric, top1s: list[float]) -> float:
    """Seconds of the tutorial's training."""
    found = plain("head", place.images)
    top1s.append(found["val_top1"])
    return found["seconds"]


def main() -> int:
    """Run it and return the exit code."""
    our_top1s: list[float] = []
    peer_top1s: list[float] = []
    with fabric(NUM_IMAGES) as place:
        ours, peer = alternate(lambda: fitted(place, our_top1s), lambda: trained(place, peer_top1s), n=TURNS, warmups=0)
        num_train, num_val = (len(list((place.images / side).rglob("*.jpg"))) for side in ("train", "validation"))
        as_good = min(our_top1s) >= max(peer_top1s)
        met = report(
            "baseline", ours, peer, f"head trained {EPOCHS} epochs by SGD over a frozen fp32 backbone, ImageFolder",
            "s", Target("<=", 0.1), PACKAGES, val_top1_ours=our_top1s, val_top1_peer=peer_top1s, num_train=num_train,
            num_val=num_val, as_accurate=as_good, ingest_s=round(place.ingest_s, 1),
        )  # fmt: skip
    return 0 if met and as_good else 1


if __name__ == "__main__":
    sys.exit(main())
