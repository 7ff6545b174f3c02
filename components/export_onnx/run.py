"""Export the selected classifier, check the file, compare it with torch on real images, add what clients need."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import components
from components.export_onnx.check import check
from components.export_onnx.code import code_digest
from components.export_onnx.export import opset_of, to_onnx
from components.export_onnx.files import load_graph, save, size_bytes
from components.export_onnx.golden import write_golden
from components.export_onnx.parity import Parity, compare, findings
from components.export_onnx.settings import batch_sizes, batches, in_every_setting
from components.export_onnx.spec import ExportOnnx
from components.interchange import classifier
from components.interchange.artifact import digest, write_card
from components.interchange.cards import ClassifierCard, OnnxCard
from components.interchange.cli import log
from components.interchange.dataset import Dataset, Split, open_dataset
from components.interchange.errors import BadInput
from components.interchange.lineage import LineageImage, write_lineage
from components.interchange.memory import keep_freed_memory
from components.interchange.onnx_model import MODEL_FILE, metadata_of, open_model
from components.interchange.report import Row, write_report
from components.interchange.scoring import Labels
from components.interchange.step import RunContext, given_parameters

REFERENCE_BATCH = 32


def run(spec: ExportOnnx, context: RunContext) -> dict[str, object]:
    device = classifier.choose_device(spec.device)
    log.info("step=export_onnx device=%s torch_threads=%d", device, torch.get_num_threads())
    if device.type == "cpu":
        keep_freed_memory()
    dataset = open_dataset(spec.dataset)
    model, made = classifier.load(spec.selected)
    classifier.check_classes(made, dataset.manifest)
    _check_origin(made, dataset)
    crop_px = made.preprocessing.crop_px
    pixels_to_logits = classifier.PixelsToLogits(model, made.preprocessing)
    card = _card(spec, made)
    metadata = metadata_of(card)

    sizes = batch_sizes(spec.max_batch)
    started = time.monotonic()
    spec.onnx_model.mkdir(parents=True)
    path = spec.onnx_model / MODEL_FILE
    save(to_onnx(pixels_to_logits, crop_px, spec.opset, metadata, spec.input), path)
    export_s = time.monotonic() - started
    check(path, spec.opset, spec.input, crop_px, len(made.classes), metadata, sizes)
    written = load_graph(path)
    log.info("exported opset=%s nodes=%d seconds=%.1f", opset_of(written), len(written.graph.node), export_s)

    write_card(spec.onnx_model, "onnx_model", card.model_dump(mode="json", exclude={"format"}))
    session, _ = open_model(spec.onnx_model)
    images = _parity_images(dataset.split("test"), spec.parity_samples, crop_px)
    reference_NC = _reference(pixels_to_logits, images.pixels_NHWC, device)
    found, not_started = in_every_setting(spec.onnx_model, images.pixels_NHWC, sizes)
    parity = compare(images.ids, images.labels_N, made.temperature, reference_NC, found)
    reasons = findings(parity, spec.tolerance)
    for reason in reasons:
        log.warning("not eligible: %s", reason)
    judged = card.model_copy(update={"eligible": not reasons, "ineligible_because": reasons})
    write_card(spec.onnx_model, "onnx_model", judged.model_dump(mode="json", exclude={"format"}))
    num_golden = write_golden(spec.onnx_model, session, dataset.originals(), made.preprocessing, spec.golden_samples)
    _write_lineage(spec, dataset, made)
    details = {
        "flips": [asdict(flip) for flip in parity.flips],
        "eligible": not reasons,
        "ineligible_because": reasons,
        "batches": sizes,
        "providers_not_started": not_started,
        "nodes": len(written.graph.node),
        "golden_samples": num_golden,
        "classes": made.classes,
    }
    write_report(spec.report, spec, _rows(written, path, parity, len(images.ids)), details)
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
        precision="fp32",
        eligible=False,
        classifier_digest=made.uncalibrated_digest or digest(spec.selected),
        dataset_digest=made.dataset_digest,
        backbone=made.backbone,
        weights=made.weights,
        spec=given_parameters(spec),
        temperature=made.temperature,
        threshold=made.threshold,
    )


class _Images(NamedTuple):
    ids: list[str]
    labels_N: Labels
    pixels_NHWC: NDArray[np.uint8]


def _parity_images(test: Split, num_samples: int, crop_px: int) -> _Images:
    """Centre crops of the first test images by id; ids are digests, so this draws evenly, always the same."""
    if not len(test):
        raise BadInput("the dataset's test split is empty: there is nothing to compare torch and ONNX on.")
    chosen = sorted(range(len(test)), key=lambda index: test.ids[index])[:num_samples]
    return _Images([test.ids[index] for index in chosen], test.labels_N[chosen], test.center_crops(chosen, crop_px))


def _reference(
    model: classifier.PixelsToLogits, pixels_NHWC: NDArray[np.uint8], device: torch.device
) -> NDArray[np.float32]:
    torch.backends.cudnn.allow_tf32 = False  # As in settings.EXACT.
    return classifier.predict_logits(model, batches(pixels_NHWC, REFERENCE_BATCH), device)


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


def _rows(model: onnx.ModelProto, path: Path, parity: Parity, num_images: int) -> list[Row]:
    rows = [
        Row(name="opset", value=opset_of(model)),
        Row(name="parity_samples", value=num_images, unit="images"),
        Row(name="flips", value=len(parity.flips), n=num_images),
        Row(name="max_abs_diff", value=parity.max_abs_diff, unit="logits", n=num_images),
        Row(name="model_bytes", value=size_bytes(path), unit="bytes"),
    ]
    for agreement in parity.agreements:
        of = str(agreement.setting)
        rows += [
            Row(name="flips", value=agreement.flips, of=of, n=num_images),
            Row(name="max_abs_diff", value=agreement.max_abs_diff, of=of, unit="logits", n=num_images),
            Row(name="ece_difference", value=agreement.ece_difference, of=of, n=num_images),
            Row(name="nll_difference", value=agreement.nll_difference, of=of, unit="nats", n=num_images),
        ]
    return rows
