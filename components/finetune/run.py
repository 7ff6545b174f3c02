"""Fine-tuning, in order: build, freeze, group, train, prove, save."""

import logging
from typing import Any

import torch
from torch import nn

from components.finetune import advice
from components.finetune.checkpoint import Checkpoints
from components.finetune.devices import Hardware, check_compiler, prepared
from components.finetune.fit import Fitted, fit
from components.finetune.freezing import freeze_at, frozen_stages, untouchable
from components.finetune.page import training_page
from components.finetune.param_groups import modules_of, sizes, stages_of
from components.finetune.spec import Finetune
from components.finetune.training import loss_of, param_groups_of, plan_of, start_of
from components.interchange import classifier
from components.interchange.cards import ClassifierCard
from components.interchange.dataset import Manifest, open_dataset
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.pretrained import pretrained_size
from components.interchange.report import Row, write_report
from components.interchange.state_dicts import state_digest
from components.interchange.step import RunContext, given_parameters

log = logging.getLogger("graft")


def run(spec: Finetune, context: RunContext) -> dict[str, object]:
    if spec.compile_model:
        check_compiler()
    with prepared(spec.device) as hardware:
        return _run(spec, context, hardware)


def _run(spec: Finetune, context: RunContext, hardware: Hardware) -> dict[str, object]:
    dataset = open_dataset(spec.dataset)
    train, val = dataset.split("train"), dataset.split("val")

    model, weights, preprocessing = start_of(spec, dataset.manifest, hardware, context.store)
    stages = stages_of(model)
    always_frozen = freeze_at(spec.freeze, spec.unfreeze_at, spec.num_epochs)
    before = state_digest(untouchable(model, stages, always_frozen, spec.frozen_batchnorm))

    loss = loss_of(spec, train, len(dataset.classes)).to(hardware.device)
    fitted = fit(
        PixelsToLogits(model, preprocessing).to(hardware.device),
        lambda: param_groups_of(model, spec),
        loss,
        train,
        val,
        plan_of(spec, preprocessing),
        hardware,
        _checkpoints(spec, dataset.digest(), weights.sha256, hardware),
    )

    model.load_state_dict(fitted.best_state)
    untouched = untouchable(model, stages, always_frozen, spec.frozen_batchnorm)
    after = state_digest(untouched)
    if after != before:
        raise RuntimeError(f"frozen tensors changed in training: digest {before} before, {after} after")
    group_sizes = sizes(param_groups_of(model, spec))
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
        "learning_rates": fitted.rates,
        "frozen": {"tensors": len(untouched), "digest_before": before, "digest_after": after},
        "num_train": len(train),
        "counts": dataset.manifest.counts["train"],
        "loss_weights": dict(zip(dataset.classes, loss.class_weights(), strict=True)),
        "weights": weights.model_dump(mode="json"),
        "preprocessing": preprocessing.model_dump(mode="json"),
        "warnings": _warnings(spec, model, dataset.manifest, preprocessing.crop_px, fitted),
    }
    page = training_page(details, given_parameters(spec), len(val))
    write_report(
        spec.report, spec, _rows(fitted, group_sizes, min(spec.batch_size, len(train)), len(val)), details, page
    )
    return {
        "device": str(hardware.device),
        "processes": hardware.world.size,
        "threads": torch.get_num_threads(),
        "precision": hardware.precision,
        "device_batch": fitted.device_batch,
        "epoch_seconds": fitted.seconds,
        "images_per_s": fitted.images_per_s,
    }


def _checkpoints(spec: Finetune, dataset: str, weights: str, hardware: Hardware) -> Checkpoints | None:
    if spec.checkpoint_uri is None:
        return None
    identity = {
        "parameters": given_parameters(spec),
        "dataset": dataset,
        "weights": weights,
        "device": hardware.device.type,
        "precision": hardware.precision,
    }
    return Checkpoints(spec.checkpoint_uri, spec.checkpoint_every_s, identity, hardware.world.rank == 0)


def _warnings(spec: Finetune, model: nn.Module, manifest: Manifest, crop_px: int, fitted: Fitted) -> list[str]:
    never = len(frozen_stages(freeze_at(spec.freeze, spec.unfreeze_at, spec.num_epochs)))
    found = [
        *advice.of_rates(spec.stage_multipliers[never:], spec.lr_policy, spec.layer_decay),
        *advice.of_data(manifest.counts["train"], weighed=spec.class_weights != "none"),
        *advice.of_size(crop_px, *pretrained_size(model)),
        *advice.of_unfreezing(spec.unfreeze_at, len(fitted.history)),
        *advice.of_course(fitted.history, fitted.best_epoch, spec.num_epochs),
    ]
    for words in found:
        log.warning("warning: %s", words)
    return found


def _rows(fitted: Fitted, groups: list[dict[str, Any]], batch: int, num_val: int) -> list[Row]:
    best = fitted.history[fitted.best_epoch - 1]
    seen = best["steps"] * batch  # Not all of train: the rest of the last batch is left out, and time may be up.
    return [
        Row(name="top1", value=best["val_top1"], of="candidate", split="val", n=num_val),
        Row(name="nll", value=best["val_nll"], unit="nats", of="candidate", split="val", n=num_val),
        Row(name="train_loss", value=best["train_loss"], unit="nats", of="candidate", split="train", n=seen),
        Row(name="best_epoch", value=fitted.best_epoch),
        Row(name="num_epochs", value=len(fitted.history)),
        Row(name="frozen_unchanged", value=True),
        *(Row(name="peak_lr", value=group["lr"], of=group["name"], n=group["parameters"]) for group in groups),
    ]
