"""What the parameters of a training mean: the model at its start, param groups, loss and plan.

Fine-tuning and the range test (`find_lr/`) begin with the same, so that what the one finds holds for the other.
"""

import numpy as np
import torch
from torch import nn

from components.finetune.activations import out_of_place
from components.finetune.augment import Augmentation
from components.finetune.devices import Hardware
from components.finetune.gradients import Loss
from components.finetune.imbalance import balancing_weights
from components.finetune.param_groups import ParamGroup, layer_decay_groups, stage_groups
from components.finetune.plan import Plan
from components.finetune.spec import Training
from components.finetune.whole_batch_norm import whole_batch_norm
from components.interchange import classifier
from components.interchange.cards import Weights
from components.interchange.dataset import Manifest, Split
from components.interchange.preprocessing import Preprocessing


def start_of(
    spec: Training, manifest: Manifest, hardware: Hardware, store: str | None
) -> tuple[nn.Module, Weights, Preprocessing]:
    """The pretrained backbone under a new head, drawn from the spec's seed, on its device."""
    torch.manual_seed(spec.seed)
    model, weights, preprocessing = classifier.start(spec, manifest, store)
    if hardware.world.size > 1:
        model = whole_batch_norm(model, hardware.device)
    model = out_of_place(model)
    model.to(hardware.device).to(memory_format=torch.channels_last)
    return model, weights, preprocessing


def param_groups_of(model: nn.Module, spec: Training) -> list[ParamGroup]:
    """The groups of what is trainable, with the peak rates that the spec's policy gives them."""
    if spec.lr_policy == "layer-decay":
        head = spec.stage_multipliers[-1]
        return layer_decay_groups(model, spec.base_lr, spec.layer_decay, head, spec.weight_decay)
    return stage_groups(model, spec.base_lr, spec.stage_multipliers, spec.weight_decay)


def loss_of(spec: Training, train: Split, num_classes: int) -> Loss:
    """The loss, with classes weighed by the training images' labels where the spec asks for it."""
    weights_C = np.ones(num_classes, np.float32)
    if spec.class_weights == "balanced":
        weights_C = balancing_weights(train.labels_N, num_classes)
    return Loss(torch.from_numpy(weights_C), spec.label_smoothing)


def plan_of(spec: Training, preprocessing: Preprocessing) -> Plan:
    """How long to train, in what portions, and with which augmentation."""
    return Plan(
        num_epochs=spec.num_epochs,
        patience=spec.patience,
        batch_size=spec.batch_size,
        device_batch_size=spec.device_batch_size,
        limit_s=None if spec.max_minutes is None else 60 * spec.max_minutes,
        warmup_fraction=spec.warmup_fraction,
        balanced_sampling=spec.class_weights == "sampled",
        augmentation=Augmentation(
            crop_px=preprocessing.crop_px,
            window_px=preprocessing.resize_short_px,
            crop=spec.crop,
            policy=spec.augment,
            strength=spec.augment_strength,
            vertical_flips=spec.vertical_flips,
            mixup_alpha=spec.mixup,
            cutmix_alpha=spec.cutmix,
        ),
        ema_decay=spec.ema_decay,
        clip_norm=spec.clip_norm,
        freeze=spec.freeze,
        unfreeze_at=spec.unfreeze_at,
        frozen_batchnorm=spec.frozen_batchnorm,
        compile_model=spec.compile_model,
        seed=spec.seed,
    )
