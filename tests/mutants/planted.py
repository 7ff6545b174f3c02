"""The bugs that are planted: each the kind that ships in silence, and the tests that must notice."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """Replace `before` by `after` in `file`; one of `tests` must fail."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "wrong mean",
        "components/interchange/classifier.py",
        'self.register_buffer("mean", 255 * torch.tensor(preprocessing.mean)',
        'self.register_buffer("mean", 250 * torch.tensor(preprocessing.mean)',
        ("tests/interchange", "tests/export_onnx", "tests/reference"),
    ),
    Mutant(
        "BGR instead of RGB",
        "components/interchange/dataset.py",
        "crops_NHWC[row] = image[top : top + crop_px, left : left + crop_px]",
        "crops_NHWC[row] = image[top : top + crop_px, left : left + crop_px, ::-1]",
        ("tests/interchange",),
    ),
    Mutant(
        "label off by one",
        "components/interchange/dataset.py",
        "pa.array([row.label for row in rows], pa.int32())",
        "pa.array([row.label + 1 for row in rows], pa.int32())",
        ("tests/interchange", "tests/ingest"),
    ),
    Mutant(
        "EXIF orientation ignored",
        "components/interchange/pixels.py",
        "TURNS.get(source.getexif().get(ExifTags.Base.Orientation, 1))",
        "None",
        ("tests/interchange/test_pixels.py",),
    ),
    Mutant(
        "test images leak into train",
        "components/ingest/splits.py",
        '        return "test"\n',
        '        return "train" if position < test_fraction / 2 else "test"\n',
        ("tests/ingest",),
    ),
    Mutant(
        "a group torn apart",
        "components/ingest/splits.py",
        '    return f"image {image_id}" if group is None else f"group {group}"',
        '    return f"image {image_id}"',
        ("tests/ingest",),
    ),
    Mutant(
        "frozen layers are trained",
        "components/finetune/freezing.py",
        "parameter.requires_grad_(stages[name] not in frozen)",
        "parameter.requires_grad_(True)",
        ("tests/reference", "tests/finetune"),
    ),
    Mutant(
        "BatchNorm of frozen stages moves",
        "components/finetune/freezing.py",
        "            module.eval()\n",
        "            pass\n",
        ("tests/reference", "tests/finetune"),
    ),
    Mutant(
        "one rate for all layers",
        "components/finetune/param_groups.py",
        "base_lr * layer_decay ** (num_layers - 1 - layer)",
        "base_lr",
        ("tests/reference",),
    ),
    Mutant(
        "one rate for all stages",
        "components/finetune/param_groups.py",
        "stage: base_lr * multiplier for",
        "stage: base_lr for",
        ("tests/reference",),
    ),
    Mutant(
        "the ledger of rates holds the plan",
        "components/finetune/rates.py",
        "float(f\"{group['lr']:.6g}\")",
        "float(f\"{group['peak_lr']:.6g}\")",
        ("tests/finetune/test_report.py",),
    ),
    Mutant(
        "normalisation not that of the weights",
        "components/interchange/classifier.py",
        'mean=tuple(config["mean"])',
        "mean=(0.5, 0.5, 0.5)",
        ("tests/mistakes/test_training.py",),
    ),
    Mutant(
        "weights with another sha256 than recorded",
        "components/interchange/weights.py",
        "if wanted is not None and found != wanted:",
        "if False:",
        ("tests/interchange/test_classifier.py",),
    ),
    Mutant(
        "the schedule does not end at zero",
        "components/finetune/schedule.py",
        "return 0.5 * (1 + math.cos(",
        "return 0.5 * (1.1 + math.cos(",
        ("tests/reference",),
    ),
    Mutant(
        "labels and predictions swapped in the confusion matrix",
        "components/interchange/scoring.py",
        "np.bincount(labels_N * num_classes + predictions_N",
        "np.bincount(predictions_N * num_classes + labels_N",
        ("tests/reference",),
    ),
    Mutant(
        "ECE without weights",
        "components/interchange/scoring.py",
        ".mean(axis=0)).sum())",
        ".mean(axis=0)).mean())",
        ("tests/reference",),
    ),
    Mutant(
        "test chooses the winner",
        "components/evaluate/selection.py",
        "if candidate_val_top1 <= baseline_val_top1:",
        "if test_gain.value <= 0:",
        ("tests/evaluate",),
    ),
    Mutant(
        "test may not veto",
        "components/evaluate/selection.py",
        "if test_gain.low <= 0:",
        "if test_gain.high <= 0:",
        ("tests/evaluate",),
    ),
    Mutant(
        "temperature fitted to test",
        "components/evaluate/run.py",
        'temperature.fit(winner.logits["val"], labels["val"])',
        'temperature.fit(winner.logits["test"], labels["test"])',
        ("tests/evaluate",),
    ),
    Mutant(
        "temperature forgotten by predict",
        "pipelines/predict.py",
        "softmax(logits_NC / card.temperature)",
        "softmax(logits_NC)",
        ("tests/pipelines/test_predict.py",),
    ),
    Mutant(
        "flips not counted",
        "components/export_onnx/parity.py",
        "flips.append(Flip(ids[row], int(expected_N[row]), int(top_N[row]), batch))",
        "pass",
        ("tests/export_onnx",),
    ),
    Mutant(
        "parity compared with itself",
        "components/export_onnx/run.py",
        "compare(images.ids, images.labels_N, made.temperature, reference_NC, found)",
        "compare(images.ids, images.labels_N, made.temperature, next(iter(found.values())), found)",
        ("tests/export_onnx/test_export_onnx.py",),
    ),
    Mutant(
        "eligible always true",
        "components/export_onnx/run.py",
        'update={"eligible": not own,',
        'update={"eligible": True,',
        ("tests/export_onnx/test_export_onnx.py",),
    ),
    Mutant(
        "a lower precision may lose anything",
        "components/export_onnx/losses.py",
        "return found.low >= -max_drop",
        "return found.high >= -max_drop",
        ("tests/export_onnx/test_precisions.py",),
    ),
    Mutant(
        "a provider silently replaced",
        "components/interchange/providers.py",
        "    if found != wanted:",
        "    if False:",
        ("tests/interchange/test_providers.py",),
    ),
    Mutant(
        "any opset will do",
        "components/export_onnx/export.py",
        "    if opset_of(graph_model) != opset:\n",
        "    if False:\n",
        ("tests/export_onnx",),
    ),
    Mutant(
        "waiting left out of paced latency",
        "components/latency/loads.py",
        "(clock() - due) * 1000",
        "(clock() - max(due, began)) * 0",
        ("tests/latency/test_judge.py",),
    ),
    Mutant(
        "an inaccurate precision recommended",
        "components/latency/precisions.py",
        "if rival.eligible and clearly and",
        "if clearly and",
        ("tests/latency/test_judge.py",),
    ),
    Mutant(
        "percentile off by one rank",
        "components/latency/measure.py",
        'np.percentile(ordered, percent, method="inverted_cdf")',
        'np.percentile(ordered, percent - 1, method="inverted_cdf")',
        ("tests/latency",),
    ),
    Mutant(
        "warm-up counted as measurement",
        "components/latency/measure.py",
        "SETTLED_WITHIN * before:",
        "SETTLED_WITHIN * before or True:",
        ("tests/latency",),
    ),
    Mutant(
        "gate inverted",
        "components/gate/rivalry.py",
        "    if low > 0:\n",
        "    if high < 0:\n",
        ("tests/gate",),
    ),
    Mutant(
        "promotion over a champion that nobody compared with",
        "components/promote/succession.py",
        "    if (seen.digest if seen else None) != approved.compared_with:",
        "    if False:",
        ("tests/promote",),
    ),
    Mutant(
        "half-written artifacts stay",
        "components/interchange/cli.py",
        "            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)",
        "            pass",
        ("tests/contract", "tests/ingest"),
    ),
    Mutant(
        "a damaged artifact is used",
        "components/interchange/artifact.py",
        '    lines = [f"{file_digest(file)}  {name}\\n" for name, file in content_files(path).items()]',
        '    lines = [f"{name}\\n" for name, file in content_files(path).items()]',
        ("tests/contract", "tests/pipelines"),
    ),
    Mutant(
        "the threshold chosen on test",
        "components/evaluate/selective.py",
        "confidence = lowest_threshold(val_logits_NC, val_labels_N, wanted)",
        "confidence = lowest_threshold(test_logits_NC, test_labels_N, wanted)",
        ("tests/evaluate/test_selective.py",),
    ),
    Mutant(
        "mistakes shown without the temperature",
        "components/evaluate/run.py",
        'most_confident(\n        calibrated.logits["test"]',
        'most_confident(\n        winner.logits["test"]',
        ("tests/evaluate/test_evaluate.py",),
    ),
    Mutant(
        "the champion scored on what it was trained on",
        "components/evaluate/contest.py",
        "clean_N = ~found.leaked_N[",
        "clean_N = ~(found.leaked_N & False)[",
        ("tests/evaluate/test_leaks.py",),
    ),
    Mutant(
        "every client conforms",
        "pipelines/conformance.py",
        "if distance <= slack:",
        "if True:",
        ("tests/pipelines/test_conformance.py",),
    ),
    Mutant(
        "new images, and yet unchanged",
        "components/changes/comparison.py",
        "if before.get(name) != now.get(name))",
        'if before.get(name) != now.get(name) and name != "pipeline_digest")',
        ("tests/changes",),
    ),
    Mutant(
        "five fields of cron handed to Kubeflow",
        "pipelines/cron.py",
        "return f\"0 {' '.join(five.split())}\"",
        "return ' '.join(five.split())",
        ("tests/pipelines/test_cluster_commands.py",),
    ),
    Mutant(
        "a promotion that failed is recorded as one",
        "components/record/ending.py",
        '(not promoted or "promote" in reports)',
        "True",
        ("tests/record",),
    ),
    Mutant(
        "a stored folder's manifest written first",
        "components/interchange/blobs.py",
        """        for _ in progress(self.place.put_files(keys), "storing", total=len(keys), unit=" files"):
            pass
        self.put(manifest_key(prefix), to_json(manifest.model_dump(mode="json")).encode())
""",
        """        self.put(manifest_key(prefix), to_json(manifest.model_dump(mode="json")).encode())
        for _ in progress(self.place.put_files(keys), "storing", total=len(keys), unit=" files"):
            pass
""",
        ("tests/interchange/test_blobs.py", "tests/faults/test_faulty_storage.py"),
    ),
    Mutant(
        "a fetched folder's sha256 not checked",
        "components/interchange/blobs.py",
        '            _refuse(wrong, f"{self.uri}/{prefix}")\n',
        "            wrong.clear()\n",
        ("tests/interchange/test_blobs.py", "tests/pipelines/test_s3_store.py"),
    ),
    Mutant(
        "the pointer swapped without a comparison",
        "components/interchange/blobs_disk.py",
        "if (found and found[1]) != expected_tag:",
        "if False:",
        ("tests/interchange/test_blobs.py", "tests/promote/test_promote.py"),
    ),
    Mutant(
        "an object that changed is taken for the one that was listed",
        "components/interchange/s3_objects.py",
        "Bucket=self.name, Key=listed.key, IfMatch=listed.tag)",
        'Bucket=self.name, Key=listed.key)\n                return bytes(found["Body"].read())',
        ("tests/ingest/test_ingest_s3.py",),
    ),
    Mutant(
        "a reduced image shifted against the whole",
        "components/interchange/pixels.py",
        "options.crop_box = CropBox(left, top, right - left, bottom - top)",
        "options.crop_box = CropBox(left, top, (right - left) * 0.9, bottom - top)",
        ("tests/interchange/test_pixels.py",),
    ),
)
