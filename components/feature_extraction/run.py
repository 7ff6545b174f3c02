"""The baseline, in order: build, extract features, fit a head for each l2, choose on val, prove, save."""

import logging
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.feature_extraction.champion import champion_statistics, differences
from components.feature_extraction.drift import FeatureDrift, drift_rows, feature_drift, halves_distance
from components.feature_extraction.features import extract
from components.feature_extraction.folding import folded
from components.feature_extraction.heads import linear_heads, write
from components.feature_extraction.linear_probe import Fit, fit_each
from components.feature_extraction.page import baseline_page
from components.feature_extraction.spec import FeatureExtraction
from components.interchange import classifier, scoring
from components.interchange.cards import ClassifierCard
from components.interchange.dataset import FEW_TRAIN_IMAGES, Split, open_dataset
from components.interchange.feature_statistics import (
    FeatureStatistics,
    moments_of,
    origin_of,
    projected,
    write_feature_statistics,
)
from components.interchange.inference import choose_device
from components.interchange.memory import keep_freed_memory
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import Row, write_report
from components.interchange.state_dicts import state_digest
from components.interchange.step import RunContext, given_parameters

log = logging.getLogger("graft")


def run(spec: FeatureExtraction, context: RunContext) -> dict[str, object]:
    device = choose_device(spec.device)
    log.info("device=%s threads=%d precision=fp32", device, torch.get_num_threads())
    if device.type == "cpu":
        keep_freed_memory()
    dataset = open_dataset(spec.dataset)
    train, val = dataset.split("train"), dataset.split("val")

    torch.manual_seed(spec.seed)
    model, weights, preprocessing = classifier.start(spec, dataset.manifest, context.store)
    heads = linear_heads(model.eval(), preprocessing.crop_px)
    before = _backbone_digest(model, heads)

    started = time.perf_counter()
    model.to(memory_format=torch.channels_last)
    pixels_to_logits = PixelsToLogits(folded(model, preprocessing.crop_px), preprocessing)
    features: dict[str, Tensor] = {
        split.name: extract(pixels_to_logits, split, preprocessing.crop_px, spec.batch_size, device)
        for split in (train, val)
    }
    extracted = time.perf_counter()
    images_per_s = (len(train) + len(val)) / (extracted - started)
    log.info("features=%d images_per_s=%.1f", features["train"].shape[1], images_per_s)

    labels_N = torch.from_numpy(train.labels_N).to(device)
    fits = fit_each(features["train"], labels_N, len(dataset.classes), spec.l2_candidates)
    history = [_record(fit, features, train, val) for fit in fits]
    best = max(range(len(fits)), key=lambda one: (history[one]["val_top1"], -history[one]["val_nll"]))
    write(model, heads, fits[best].head, preprocessing.crop_px)
    fit_s = time.perf_counter() - extracted
    log.info("l2=%g val_top1=%.3f val_nll=%.3f", fits[best].l2, history[best]["val_top1"], history[best]["val_nll"])

    after = _backbone_digest(model, heads)
    if after != before:
        raise RuntimeError(f"the frozen backbone changed: digest {before} before, {after} after")
    card = ClassifierCard(
        backbone=spec.backbone,
        classes=dataset.classes,
        preprocessing=preprocessing,
        weights=weights,
        dataset_digest=dataset.digest(),
        made_by="feature_extraction",
        spec=given_parameters(spec),
        history=history,
    )
    classifier.save(spec.classifier, model, card)

    statistics = _statistics(features["train"], card, spec.seed)
    write_feature_statistics(spec.classifier, statistics)
    drift, not_compared = _drift(statistics, context)
    warnings = [drift.warning] if drift is not None and drift.warning else []
    for warning in warnings:
        log.warning("%s", warning)

    details = {
        "history": history,
        "frozen": {"digest_before": before, "digest_after": after},
        "num_train": len(train),
        **_expectation(len(train)),
        "warnings": warnings,
        "features_not_compared": not_compared,
    }
    rows = _rows(history[best], train, val) + (drift_rows(drift, len(train)) if drift else [])
    page = baseline_page(details, spec.backbone, history[best], len(val), drift)
    write_report(spec.report, spec, rows, details, page)
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "precision": "fp32",
        "features_s": extracted - started,
        "fit_s": fit_s,
        "images_per_s": images_per_s,
    }


def _statistics(features_ND: Tensor, card: ClassifierCard, seed: int) -> FeatureStatistics:
    projected_NK = projected(features_ND.cpu().numpy())
    halves = halves_distance(projected_NK, np.random.default_rng(seed))
    return FeatureStatistics(moments_of(projected_NK), len(projected_NK), halves, origin_of(card))


def _drift(statistics: FeatureStatistics, context: RunContext) -> tuple[FeatureDrift | None, list[str]]:
    """Drift since the champion, or why its features cannot be compared with these; neither without a champion."""
    champion = champion_statistics(context)
    if champion is None:
        return None, []
    different = differences(statistics.origin, champion.origin)
    return (None, different) if different else (feature_drift(statistics, champion), [])


def _backbone_digest(model: nn.Module, heads: list[nn.Module]) -> str:
    own = {id(parameter) for head in heads for parameter in head.parameters()}
    state = model.state_dict(keep_vars=True)
    return state_digest({name: tensor for name, tensor in state.items() if id(tensor) not in own})


def _record(fit: Fit, features: dict[str, Tensor], train: Split, val: Split) -> dict[str, Any]:
    record: dict[str, Any] = {"l2": fit.l2, "gradient_norm": fit.gradient_norm, "iterations": fit.iterations}
    for split in (train, val):
        logits_NC = fit.head.logits(features[split.name]).cpu().numpy()
        record[f"{split.name}_top1"] = scoring.top1(logits_NC, split.labels_N)
        record[f"{split.name}_nll"] = scoring.nll(logits_NC, split.labels_N)
    return record


def _expectation(num_train: int) -> dict[str, Any]:
    few = num_train < FEW_TRAIN_IMAGES
    words = f"{num_train} training images: under {FEW_TRAIN_IMAGES} the baseline is expected to win."
    return {"baseline_expected_to_win": few, "expectation": words if few else None}


def _rows(best: dict[str, Any], train: Split, val: Split) -> list[Row]:
    scores = [
        Row(name=name, value=best[f"{split.name}_{name}"], unit=unit, of="baseline", split=split.name, n=len(split))
        for split in (train, val)
        for name, unit in (("top1", ""), ("nll", "nats"))
    ]
    return [
        *scores,
        Row(name="l2", value=best["l2"], of="baseline"),
        Row(name="gradient_norm", value=best["gradient_norm"], of="baseline"),
        Row(name="backbone_unchanged", value=True),
    ]
