"""fastai's side of the benchmarks, run by the Python of its own environment: `fastai_side.py speed|accuracy IMAGES
WEIGHTS`. The last line of its standard output is a JSON object.

`speed`: images a second of an epoch in which all layers learn, after one that does not count. `accuracy`:
seconds from the folder to the end of `fine_tune(4)`, and top-1 on test. Flips and crops only, as on our side.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from fastai.vision.all import (
    Callback,
    Flip,
    ImageDataLoaders,
    Learner,
    Normalize,
    RandomCrop,
    Resize,
    accuracy,
    get_image_files,
    parent_label,
    vision_learner,
)
from safetensors.torch import load_file

BACKBONE, STORED_PX, CROP_PX, BATCH = "tf_efficientnet_lite0", 256, 224, 32
HALF = ([0.5] * 3, [0.5] * 3)


class TrainingTime(Callback):  # type: ignore[misc]
    """Seconds and images of the training batches, each epoch's validation left out."""

    seconds, images = 0.0, 0

    def before_train(self) -> None:
        self.started = time.perf_counter()

    def after_batch(self) -> None:
        if self.training:
            self.images += len(self.xb[0])

    def after_train(self) -> None:
        self.seconds += time.perf_counter() - self.started


def learner(images: Path, weights: Path) -> Learner:
    """A vision_learner over the pretrained weights, which timm here fills in by name."""
    loaders = ImageDataLoaders.from_folder(
        images, train="train", valid="validation", item_tfms=[Resize(STORED_PX), RandomCrop(CROP_PX)],
        batch_tfms=[Flip(), Normalize.from_stats(*HALF)], bs=BATCH, num_workers=len(os.sched_getaffinity(0)),
    )  # fmt: skip
    learn = vision_learner(loaders, BACKBONE, pretrained=False, normalize=False, metrics=accuracy)
    missing, unexpected = learn.model[0].model.load_state_dict(load_file(weights), strict=False)
    assert not unexpected, unexpected
    assert not [name for name in missing if not name.startswith("classifier.")], missing
    return learn


def main(what: str, images: Path, weights: Path) -> dict[str, float]:
    """Measure one thing."""
    torch.manual_seed(0)
    started = time.perf_counter()
    learn = learner(images, weights)
    if what == "speed":
        timed = TrainingTime()
        learn.unfreeze()
        with learn.no_bar(), learn.no_logging():
            learn.fit(1)
            learn.fit(1, cbs=timed)
        return {"images_per_s": timed.images / timed.seconds}
    with learn.no_bar():
        learn.fine_tune(4)
    seconds = time.perf_counter() - started
    files = get_image_files(images / "test")
    test = learn.dls.test_dl(files)
    with learn.no_bar():
        probabilities, _ = learn.get_preds(dl=test)
    names = [learn.dls.vocab[int(best)] for best in probabilities.argmax(1)]
    right = sum(name == parent_label(path) for name, path in zip(names, files, strict=True))
    return {"seconds": seconds, "test_top1": right / len(files), "num_test": len(files)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
