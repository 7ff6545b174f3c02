"""A training, laid out: how long, in what portions, by which rules."""

from dataclasses import dataclass

from components.finetune.augment import Augmentation
from components.finetune.spec import Freeze, FrozenBatchNorm


@dataclass(frozen=True)
class Plan:
    """Batch sizes in images, `patience` in epochs, `unfreeze_at` epochs from 1. What is None or 0 is left out."""

    num_epochs: int
    patience: int
    batch_size: int
    device_batch_size: int | None
    limit_s: float | None
    warmup_fraction: float
    balanced_sampling: bool
    augmentation: Augmentation
    ema_decay: float
    clip_norm: float | None
    freeze: Freeze
    unfreeze_at: tuple[int, ...]
    frozen_batchnorm: FrozenBatchNorm
    compile_model: bool
    seed: int
