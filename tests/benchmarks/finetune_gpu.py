"""Training on one GPU: images a second through the real augmentation, against the same step on synthetic data that lie
on the GPU already; and 10,000 images x 10 epochs of ResNet50. Random weights: speed does not ask what they mean.

Without CUDA nothing is measured, and the line says so.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn

from components.finetune.activations import out_of_place
from components.finetune.augment import Augmentation
from components.finetune.devices import Hardware, prepared
from components.finetune.epoch import batches_of, take_step, train_epoch
from components.finetune.gradients import Loss, leave_gradients
from components.finetune.param_groups import stage_groups
from components.finetune.plan import Plan
from components.finetune.replay import replay_of
from components.finetune.resident import ResidentImages, resident_if_fitting
from components.finetune.state import Progress, State, optimizer_over
from components.interchange.dataset import Split
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing
from components.interchange.stored_images import read_shards
from tests.benchmarks.duel import Target, machine, report
from tests.shards import stored_image, write_shards

BATCH, NUM_IMAGES, TURNS, CLASSES = 128, 4096, 3, 10
WANTED_PER_S = {
    "resnet18": 9000,
    "resnet50": 3000,
    "efficientnet_b0": 3500,
    "efficientnet_b3": 1200,
    "vit_base_patch16_224": 1500,
}
INPUT_PX = {"efficientnet_b3": 288}
SHARE_OF_SYNTHETIC = Target(">=", 0.95)
WANTED_10K_S = 60.0


class Bench:
    """A backbone with everything that a training of it needs."""

    def __init__(self, backbone: str, split: Split, stored_px: int, crop_px: int, batch: int, hardware: Hardware):
        self.split, self.hardware = split, hardware
        model: nn.Module = out_of_place(timm.create_model(backbone, num_classes=CLASSES))
        model.to(hardware.device).to(memory_format=torch.channels_last)
        half = (0.5, 0.5, 0.5)
        preprocessing = Preprocessing(
            resize_short_px=stored_px, interpolation="bicubic", crop_px=crop_px, mean=half, std=half
        )
        self.model = PixelsToLogits(model, preprocessing).to(hardware.device).train()
        self.loss = Loss(torch.ones(CLASSES), 0.0).to(hardware.device)
        groups = stage_groups(model, 1e-5, (0.01, 0.1, 1.0, 10.0), 0.05)
        self.state = State(model, optimizer_over(groups), Progress(device_batch=batch))
        self.state.replay = replay_of(model, hardware, compiled=False)
        self.resident: ResidentImages | None = resident_if_fitting(split, hardware.device)
        self.plan = Plan(
            num_epochs=1000, patience=1000, batch_size=batch, device_batch_size=None, limit_s=None, warmup_fraction=0.1,
            balanced_sampling=False, augmentation=Augmentation(crop_px=crop_px, window_px=stored_px), ema_decay=0.0,
            clip_norm=None, freeze="none", unfreeze_at=(), frozen_batchnorm="frozen", compile_model=False, seed=0,
        )  # fmt: skip

    def real(self) -> float:
        """Images a second of one epoch, batches drawn, cut and augmented as in every training."""
        found = train_epoch(
            self.model, self.loss, self.state, self.split, self.plan, self.hardware, self.resident, lambda: None
        )
        self.state.progress.epoch, self.state.progress.batch = self.state.progress.epoch + 1, 0
        return found

    def synthetic(self) -> float:
        """Images a second of as many steps on one and the same batch, which lies on the device."""
        at, crop_px = self.state.progress, self.plan.augmentation.crop_px
        batch = next(batches_of(self.split, self.plan, at, self.hardware, self.resident)).to(self.hardware.device)
        steps = len(self.split) // len(batch)
        started = time.perf_counter()
        for _ in range(steps):
            leave_gradients(self.model, self.loss, batch, crop_px, self.state, self.hardware)
            take_step(self.state, self.plan, 0.5)
        if self.hardware.device.type == "cuda":
            torch.cuda.synchronize()
        at.batch = 0
        return steps * len(batch) / (time.perf_counter() - started)


def images_of(folder: Path, num_images: int, size_px: int) -> Split:
    """Noise as a split, read back from its shards. uint8 [size_px, size_px, 3] each."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = (
        stored_image(str(n), n % CLASSES, rng.integers(0, 256, (size_px, size_px, 3), np.uint8))
        for n in range(num_images)
    )
    names = write_shards(folder, "train", drawn, "raw")
    return Split("train", *read_shards([folder / name for name in names], "raw"))


def measured(backbone: str, folder: Path, hardware: Hardware) -> bool:
    """One backbone's line."""
    crop_px = INPUT_PX.get(backbone, 224)
    stored_px = round(crop_px / 0.875)
    bench = Bench(
        backbone, images_of(folder / str(stored_px), NUM_IMAGES, stored_px), stored_px, crop_px, BATCH, hardware
    )
    bench.real(), bench.synthetic()
    real, synthetic = [], []
    for _ in range(TURNS):
        real.append(bench.real())
        synthetic.append(bench.synthetic())
    wanted = WANTED_PER_S[backbone]
    fast = sorted(real)[TURNS // 2] >= wanted
    share = report(
        f"finetune_gpu_{backbone}", real, synthetic, "the same step, data on the GPU", "images/s", SHARE_OF_SYNTHETIC,
        ("torch", "timm"), gpu=torch.cuda.get_device_name(), precision=hardware.precision, input_px=crop_px,
        batch=BATCH, images_on_gpu=bench.resident is not None, wanted_images_per_s=wanted, fast_enough=fast,
    )  # fmt: skip
    return share and fast


def ten_thousand(folder: Path, hardware: Hardware) -> bool:
    """Seconds of 10 epochs over 10,000 images, optimiser steps and augmentation included, validation not."""
    bench = Bench("resnet50", images_of(folder / "10k", 10_000, 256), 256, 224, BATCH, hardware)
    bench.synthetic()
    started = time.perf_counter()
    for _ in range(10):
        bench.real()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    ok = seconds <= WANTED_10K_S
    _line("finetune_gpu_10k_resnet50", ours=seconds, unit="s", target=f"<= {WANTED_10K_S:g}", ok=ok, n=1,
          gpu=torch.cuda.get_device_name(), machine=machine(("torch", "timm")))  # fmt: skip
    return ok


def _line(benchmark: str, **more: Any) -> None:
    print(json.dumps({"benchmark": benchmark, **more}), flush=True)


def main() -> int:
    """Run it and return the exit code."""
    if not torch.cuda.is_available():
        _line("finetune_gpu", measured=False, reason="torch sees no CUDA device", machine=machine(("torch", "timm")))
        return 0
    with tempfile.TemporaryDirectory() as name, prepared("cuda") as hardware:
        met = [measured(backbone, Path(name), hardware) for backbone in WANTED_PER_S]
        met.append(ten_thousand(Path(name), hardware))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
