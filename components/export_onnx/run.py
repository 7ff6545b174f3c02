"""Export the selected classifier, check the file, compare it with torch on real images, add what clients need."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import components
from components.export_onnx.check import Wanted, check
from components.export_onnx.code import code_digest
from components.export_onnx.export import opset_of, to_onnx
from components.export_onnx.files import load_graph, save, size_bytes
from components.export_onnx.golden import write_golden
from components.export_onnx.images import first_by_id, for_parity
from components.export_onnx.parity import compare, findings
from components.export_onnx.precisions import JUDGED_ON, Bench, Made, make, ship
from components.export_onnx.rows import parity_rows, precision_rows
from components.export_onnx.settings import batch_sizes, batches, in_every_setting
from components.export_onnx.spec import ExportOnnx
from components.interchange import classifier
from components.interchange.artifact import digest, write_card
from components.interchange.cards import ClassifierCard, OnnxCard, Precision, Variant
from components.interchange.dataset import Dataset, open_dataset
from components.interchange.errors import BadInput
from components.interchange.feature_statistics import carry_feature_statistics
from components.interchange.inference import choose_device, predict_logits
from components.interchange.lineage import FOLDER, LineageImage, write_lineage
from components.interchange.memory import keep_freed_memory
from components.interchange.onnx_model import MODEL_FILE, open_model, sha256_of, variant_file
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import write_report
from components.interchange.step import RunContext, given_parameters

log = logging.getLogger("graft")
REFERENCE_BATCH = 32


def run(spec: ExportOnnx, context: RunContext) -> dict[str, object]:
    device = choose_device(spec.device)
    log.info("device=%s torch_threads=%d", device, torch.get_num_threads())
    if device.type == "cpu":
        keep_freed_memory()
    dataset = open_dataset(spec.dataset)
    model, made = classifier.load(spec.selected)
    classifier.check_classes(made, dataset.manifest)
    _check_origin(made, dataset)
    crop_px = made.preprocessing.crop_px
    pixels_to_logits = PixelsToLogits(model, made.preprocessing)
    card = _card(spec, made)
    wanted, sizes = Wanted.by(card), batch_sizes(spec.max_batch)

    started = time.monotonic()
    spec.onnx_model.mkdir(parents=True)
    path = spec.onnx_model / MODEL_FILE
    save(to_onnx(pixels_to_logits, crop_px, spec.opset, wanted.metadata, spec.input), path)
    export_s = time.monotonic() - started
    check(path, wanted, sizes)
    written = load_graph(path)
    log.info("exported opset=%s nodes=%d seconds=%.1f", opset_of(written), len(written.graph.node), export_s)

    _write_card(spec, card)
    images = for_parity(dataset, spec.parity_samples, crop_px)
    reference_NC = _reference(pixels_to_logits, images.pixels_NHWC, device)
    found, not_started = in_every_setting(spec.onnx_model, images.pixels_NHWC, sizes)
    parity = compare(images.ids, images.labels_N, made.temperature, reference_NC, found)
    reasons = findings(parity, spec.tolerance)

    others = _other_precisions(spec, dataset, path, wanted.metadata, made)
    for other in others.values():
        check(other.path, wanted, sizes)
    because: dict[Precision, list[str]] = {"fp32": reasons}
    because |= {name: reasons + other.because for name, other in others.items()}
    sizes_bytes: dict[Precision, int] = {"fp32": size_bytes(path)}
    sizes_bytes |= {name: size_bytes(other.path) for name, other in others.items()}

    ship(spec.onnx_model, spec.precision, keep_fp32="fp32" in spec.variants)
    for reason in because[spec.precision]:
        log.warning("not eligible: %s", reason)
    _write_card(spec, _judged(spec, card, because))
    session, _ = open_model(spec.onnx_model)
    num_golden = write_golden(spec.onnx_model, session, dataset.originals(), made.preprocessing, spec.golden_samples)
    _write_lineage(spec, dataset, made)

    details = {
        "flips": [asdict(flip) for flip in parity.flips],
        "eligible": not because[spec.precision],
        "ineligible_because": because[spec.precision],
        "batches": sizes,
        "providers_not_started": not_started,
        "nodes": len(written.graph.node),
        "golden_samples": num_golden,
        "classes": made.classes,
        "precisions": {
            name: {"eligible": not because[name], "ineligible_because": because[name], "kept_fp32": other.kept_fp32}
            for name, other in others.items()
        },
    }
    rows = parity_rows(opset_of(written), parity, len(images.ids), sizes_bytes[spec.precision])
    write_report(spec.report, spec, rows + precision_rows(others, sizes_bytes, made.classes), details)
    return {"export_s": export_s, "device": str(device), "torch_threads": torch.get_num_threads()}


def _check_origin(made: ClassifierCard, dataset: Dataset) -> None:
    found = dataset.digest()
    if found != made.dataset_digest:
        raise BadInput(
            f"the classifier was trained on the dataset {made.dataset_digest[:12]}, --dataset is {found[:12]}. Give "
            "the one it was trained on: the model's lineage names the training images."
        )


def _card(spec: ExportOnnx, made: ClassifierCard) -> OnnxCard:
    """The card before parity is known: not eligible."""
    return OnnxCard(
        classes=made.classes,
        input=spec.input,
        preprocessing=made.preprocessing,
        opset=spec.opset,
        precision=spec.precision,
        eligible=False,
        classifier_digest=made.uncalibrated_digest or digest(spec.selected),
        dataset_digest=made.dataset_digest,
        backbone=made.backbone,
        weights=made.weights,
        spec=given_parameters(spec),
        temperature=made.temperature,
        threshold=made.threshold,
    )


def _write_card(spec: ExportOnnx, card: OnnxCard) -> None:
    write_card(spec.onnx_model, "onnx_model", card.model_dump(mode="json", exclude={"format"}))


def _judged(spec: ExportOnnx, card: OnnxCard, because: Mapping[Precision, list[str]]) -> OnnxCard:
    """The card with the verdicts, of the model that ships and of those beside it, and with what files there are now."""
    beside = dict.fromkeys(name for name in spec.variants if name != spec.precision)
    own = because[spec.precision]
    variants = [
        Variant(precision=name, file=variant_file(name), eligible=not because[name], ineligible_because=because[name])
        for name in beside
    ]
    sha256 = sha256_of(spec.onnx_model, MODEL_FILE)
    for one in variants:
        sha256 |= sha256_of(spec.onnx_model, one.file)
    return card.model_copy(
        update={"eligible": not own, "ineligible_because": own, "variants": variants, "sha256": sha256}
    )


def _other_precisions(
    spec: ExportOnnx, dataset: Dataset, full: Path, metadata: dict[str, str], card: ClassifierCard
) -> dict[Precision, Made]:
    """Every precision but fp32 that was asked for, in a file of its own; nothing is read where there is none."""
    wanted = dict.fromkeys(name for name in (spec.precision, *spec.variants) if name != "fp32")
    if not wanted:
        return {}
    crop_px = card.preprocessing.crop_px
    images = {name: first_by_id(dataset.split(name), spec.judged_samples, crop_px) for name in JUDGED_ON}
    bench = Bench(full, images, spec.calibration_samples, card.temperature)
    made: dict[Precision, Made] = {}
    for name in wanted:
        path = spec.onnx_model / variant_file(name)
        path.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(prefix="graft-export-") as work:
            made[name] = make(name, bench, path, Path(work), metadata, spec.max_drop)
    return made


def _reference(model: PixelsToLogits, pixels_NHWC: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    torch.backends.cudnn.allow_tf32 = False  # As in settings.EXACT.
    return predict_logits(model, batches(pixels_NHWC, REFERENCE_BATCH), device)


def _write_lineage(spec: ExportOnnx, dataset: Dataset, made: ClassifierCard) -> None:
    manifest = dataset.manifest
    facts: dict[str, Any] = {
        "dataset_digest": made.dataset_digest,
        "classes": manifest.classes,
        "counts": manifest.counts,
        "split_digests": manifest.digests,
        "split_policy": manifest.split_policy,
        "statistics": manifest.statistics.model_dump(mode="json"),
        "specs": {made.made_by: made.spec, "export_onnx": given_parameters(spec)},
        "code_digest": code_digest(Path(components.__file__).parent, ("export_onnx", "interchange")),
    }
    images = (LineageImage(one.id, one.label, one.split, one.group, one.phash) for one in dataset.samples())
    write_lineage(spec.onnx_model, images, facts)
    carry_feature_statistics(spec.selected, spec.onnx_model / FOLDER)
