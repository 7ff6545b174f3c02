"""Fine-tuning, in order: build, freeze, group, train, prove, save."""

import logging
from typing import Any

import torch
from torch import nn

from components.finetune.checkpoint import Checkpoints
from components.finetune.fit import Fitted, Plan, fit
from components.finetune.freezing import freeze_stages, untouchable
from components.finetune.param_groups import ParamGroup, layer_decay_groups, modules_of, sizes, stage_groups, stages_of
from components.finetune.spec import Finetune
from components.finetune.train import choose_precision
from components.interchange import classifier
from components.interchange.cards import ClassifierCard
from components.interchange.dataset import open_dataset
from components.interchange.memory import keep_freed_memory
from components.interchange.report import Row, write_report
from components.interchange.step import RunContext, given_parameters

log = logging.getLogger("graft")


def run(spec: Finetune, context: RunContext) -> dict[str, object]:
    torch.backends.cudnn.deterministic = True
    device = classifier.choose_device(spec.device)
    precision = choose_precision(device)
    log.info("device=%s threads=%d precision=%s", device, torch.get_num_threads(), precision)
    if device.type == "cpu":
        keep_freed_memory()
    dataset = open_dataset(spec.dataset)
    train, val = dataset.split("train"), dataset.split("val")

    torch.manual_seed(spec.seed)
    model, weights = classifier.build(
        spec.backbone, len(dataset.classes), spec.weights, spec.weights_sha256, spec.input_size_px, context.store
    )
    preprocessing = classifier.preprocessing_of(model, dataset.manifest, spec.input_size_px)
    stages = stages_of(model)
    freeze_stages(model, stages, spec.freeze)
    groups = _param_groups(model, spec)
    group_sizes = sizes(groups)
    model.to(device).to(memory_format=torch.channels_last)
    before = classifier.state_digest(untouchable(model, stages, spec.freeze, spec.frozen_batchnorm))

    pixels_to_logits = classifier.PixelsToLogits(model, preprocessing).to(device)
    checkpoints = None
    if spec.checkpoint_uri is not None:
        identity = {
            "parameters": given_parameters(spec),
            "dataset": dataset.digest(),
            "weights": weights.sha256,
            "device": device.type,
            "precision": precision,
        }
        checkpoints = Checkpoints(spec.checkpoint_uri, spec.checkpoint_every_s, identity)
    plan = _plan(spec, preprocessing.crop_px)
    fitted = fit(pixels_to_logits, groups, train, val, plan, device, precision, checkpoints)

    model.load_state_dict(fitted.best_state)
    untouched = untouchable(model, stages, spec.freeze, spec.frozen_batchnorm)
    after = classifier.state_digest(untouched)
    if after != before:
        raise RuntimeError(f"frozen tensors changed in training: digest {before} before, {after} after")
    card = ClassifierCard(
        backbone=spec.backbone,
        classes=dataset.classes,
        preprocessing=preprocessing,
        weights=weights,
        dataset_digest=dataset.digest(),
        made_by="finetune",
        spec=given_parameters(spec),
        history=fitted.history,
    )
    classifier.save(spec.classifier, model, card)
    details = {
        "history": fitted.history,
        "best_epoch": fitted.best_epoch,
        "param_groups": group_sizes,
        "stages": modules_of(stages),
        "frozen": {"tensors": len(untouched), "digest_before": before, "digest_after": after},
        "num_train": len(train),
    }
    write_report(spec.report, spec, _rows(fitted, group_sizes, len(train), len(val)), details)
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "epoch_seconds": fitted.seconds,
        "images_per_s": fitted.images_per_s,
    }


def _param_groups(model: nn.Module, spec: Finetune) -> list[ParamGroup]:
    if spec.lr_policy == "layer-decay":
        head = spec.stage_multipliers[-1]
        return layer_decay_groups(model, spec.base_lr, spec.layer_decay, head, spec.weight_decay)
    return stage_groups(model, spec.base_lr, spec.stage_multipliers, spec.weight_decay)


def _plan(spec: Finetune, crop_px: int) -> Plan:
    return Plan(
        num_epochs=spec.num_epochs,
        patience=spec.patience,
        batch_size=spec.batch_size,
        crop_px=crop_px,
        warmup_fraction=spec.warmup_fraction,
        label_smoothing=spec.label_smoothing,
        vertical_flips=spec.vertical_flips,
        frozen_batchnorm=spec.frozen_batchnorm,
        seed=spec.seed,
    )


def _rows(fitted: Fitted, groups: list[dict[str, Any]], num_train: int, num_val: int) -> list[Row]:
    best = fitted.history[fitted.best_epoch - 1]
    return [
        Row(name="top1", value=best["val_top1"], of="candidate", split="val", n=num_val),
        Row(name="nll", value=best["val_nll"], unit="nats", of="candidate", split="val", n=num_val),
        Row(name="train_loss", value=best["train_loss"], unit="nats", of="candidate", split="train", n=num_train),
        Row(name="best_epoch", value=fitted.best_epoch),
        Row(name="num_epochs", value=len(fitted.history)),
        Row(name="frozen_unchanged", value=True),
        *(Row(name="peak_lr", value=group["lr"], of=group["name"], n=group["parameters"]) for group in groups),
    ]
