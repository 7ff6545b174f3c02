"""What finetune reads, writes and can be told."""

from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import PositiveInt, field_validator, model_validator

from components.interchange.step import param, writes
from components.interchange.transfer import Transfer

Freeze = Literal["none", "early", "middle", "late"]
FrozenBatchNorm = Literal["frozen", "adapt"]
Crop = Literal["window", "resized"]
Augment = Literal["flips", "geometric", "randaugment"]


class Training(Transfer):
    """How a backbone is trained under a new head, whoever trains it and what for."""

    # What learns, and how fast.
    base_lr: float = param("Peak learning rate of the late stage", default=1e-3, gt=0)
    stage_multipliers: tuple[float, float, float, float] = param(
        "Rates of early, middle, late and head, as multiples of base_lr", default=(0.01, 0.1, 1.0, 10.0)
    )
    lr_policy: Literal["stages", "layer-decay"] = param("How rates fall towards the input", default="stages")
    layer_decay: float = param("Ratio of neighbouring layers' rates, for layer-decay", default=0.75, gt=0, le=1)
    freeze: Freeze = param("Freeze up to and with this stage", default="none")
    unfreeze_at: tuple[PositiveInt, ...] = param(
        "Epochs (from 1) at which one frozen stage more may learn, the deepest first", default=()
    )
    frozen_batchnorm: FrozenBatchNorm = param(
        "BatchNorm statistics of frozen stages: fixed, or following the images", default="frozen"
    )

    # How long, and in what portions.
    num_epochs: int = param("Passes over train", default=4, ge=1)
    max_minutes: float | None = param(
        "Time to train in, at most; the rate still ends at zero, but no two runs are equal", default=None, gt=0
    )
    patience: int = param(
        "Epochs without a better val before stopping, counted from the last of unfreeze_at on", default=3, ge=1
    )
    batch_size: int = param("Images an optimiser step", default=32, unit="images", ge=2)
    device_batch_size: int | None = param(
        "Images a forward pass, gradients add up; batch_size where not given, halved where memory runs out",
        default=None,
        unit="images",
        ge=2,
    )
    weight_decay: float = param("Decoupled; norms, biases and position embeddings are exempt", default=0.05, ge=0)
    warmup_fraction: float = param("Share of the steps with a rising rate", default=0.1, ge=0, lt=1)
    clip_norm: float | None = param("Norm that the gradient is clipped to", default=None, gt=0)
    ema_decay: float = param(
        "Moving average of the weights, which then is what ships; 0: none", default=0.0, ge=0, lt=1
    )

    # What it sees.
    class_weights: Literal["none", "balanced", "sampled"] = param(
        "Unequal classes: as they are, losses weighed to equal shares, or images drawn to equal shares", default="none"
    )
    label_smoothing: float = param("Probability moved from the label to all classes", default=0.0, ge=0, lt=1)
    crop: Crop = param(
        "Random crop: a window at stored scale, or a part of 35 to 100 % of the area, resized", default="window"
    )
    augment: Augment = param(
        "Beyond the crop: mirror; turn, shear and shift as well; or two of ten operations, colours included",
        default="flips",
    )
    augment_strength: float = param("Share of the largest magnitudes, beyond flips", default=0.5, ge=0, le=1)
    vertical_flips: bool = param("Mirror top to bottom as well as left to right", default=False)
    mixup: float = param("Alpha of mixup's Beta distribution; 0: none", default=0.0, ge=0)
    cutmix: float = param(
        "Alpha of CutMix's Beta distribution; 0: none; with mixup, each half the time", default=0.0, ge=0
    )

    # Where, and from which seed.
    device: Literal["auto", "cpu", "cuda"] = param("Where to compute", default="auto")
    compile_model: bool = param("Compile the training step with torch.compile; needs a C++ compiler", default=False)
    seed: int = param("Seed of everything random", default=0, ge=0, lt=2**63)
    checkpoint_uri: str | None = param(
        "Folder or s3://BUCKET/PREFIX where training is saved and, started again, goes on", default=None, location=True
    )
    checkpoint_every_s: float = param(
        "Time between checkpoints; 0: one as soon as the last is written", default=60.0, unit="s", ge=0, location=True
    )

    @field_validator("stage_multipliers")
    @classmethod
    def _positive(cls, multipliers: tuple[float, ...]) -> tuple[float, ...]:
        if min(multipliers) <= 0:
            raise ValueError("every multiplier must be above 0; to keep a stage as it is, use freeze")
        return multipliers

    @model_validator(mode="after")
    def _something_to_unfreeze(self) -> Self:
        frozen = get_args(Freeze).index(self.freeze)
        if len(self.unfreeze_at) > frozen:
            raise ValueError(
                f"unfreeze_at names {len(self.unfreeze_at)} epochs, but freeze={self.freeze} has {frozen} stages"
            )
        never = [str(due) for due in self.unfreeze_at if due > self.num_epochs]
        if never:
            raise ValueError(
                f"unfreeze_at names epoch {', '.join(never)}, but num_epochs={self.num_epochs} ends before"
            )
        return self


class Finetune(Training):
    """Fine-tune a pretrained backbone under a new head, with differential learning rates."""

    classifier: Path = writes("classifier", "Weights of the epoch that was best on val")
    report: Path = writes("report", "Loss, top-1 and learning rates by epoch; what was frozen")
