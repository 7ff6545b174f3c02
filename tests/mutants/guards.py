"""The guards behind tests/mistakes, each taken out: whoever makes that mistake must then be noticed by its test."""

from tests.mutants.planted import Mutant

TRAINING = ("tests/mistakes/test_training.py",)
SERVING = ("tests/mistakes/test_serving.py",)
EXPORT, INFERENCE = "components/export_onnx/export.py", "components/interchange/inference.py"
ADVICE, BACKBONE = "components/finetune/advice.py", "components/interchange/backbone.py"
CLASSIFIER = "components/interchange/classifier.py"

GUARDS = (
    Mutant(
        "a normalisation that is not the weights'",
        CLASSIFIER,
        'mean=tuple(config["mean"])',
        "mean=(0.4, 0.4, 0.4)",
        TRAINING,
    ),
    Mutant(
        "one rate for all layers unsaid",
        ADVICE,
        'if lr_policy == "stages" and len(set(multipliers)) == 1:',
        "if False:",
        TRAINING,
    ),
    Mutant(
        "one rate for the backbone unsaid",
        ADVICE,
        'if lr_policy == "layer-decay" and layer_decay == 1.0:',
        "if False:",
        TRAINING,
    ),
    Mutant("a slow head unsaid", ADVICE, "elif head <= fastest:", "elif False:", TRAINING),
    Mutant(
        "a layer left out of the optimiser",
        "components/finetune/param_groups.py",
        '        groups.setdefault(key, empty)["params"].append(parameter)',
        '        groups.setdefault(key, empty)["params"].extend([parameter] if name != "fc.bias" else [])',
        TRAINING,
    ),
    Mutant(
        "a layer left out of the optimiser unseen",
        "components/finetune/param_groups.py",
        '(missing, "in no param group"),',
        '([], "in no param group"),',
        TRAINING,
    ),
    Mutant("imbalance unsaid", ADVICE, "and not weighed:", "and False:", TRAINING),
    Mutant("imbalance said though weighed", ADVICE, "and not weighed:", ":", TRAINING),
    Mutant(
        "balanced classes weigh nothing",
        "components/finetune/training.py",
        'if spec.class_weights == "balanced":',
        "if False:",
        TRAINING,
    ),
    Mutant("another input size unsaid", ADVICE, "if crop_px == pretrained_px:", "if True:", TRAINING),
    Mutant(
        "position embeddings not resampled",
        BACKBONE,
        "        model.set_input_size(img_size=input_size_px)",
        "        pass",
        TRAINING,
    ),
    Mutant("an input that no patch divides", BACKBONE, "    if input_size_px % patch_px:", "    if False:", TRAINING),
    Mutant(
        "an input larger than what is stored",
        CLASSIFIER,
        "    if manifest.stored_size_px < crop_px:",
        "    if False:",
        TRAINING,
    ),
    Mutant(
        "training reads test",
        "components/finetune/run.py",
        'dataset.split("train"), dataset.split("val")',
        'dataset.split("train"), dataset.split("test")',
        TRAINING,
    ),
    Mutant(
        "val scored in train mode",
        INFERENCE,
        "model.eval().to(device).to(memory",
        "model.to(device).to(memory",
        TRAINING,
    ),
    Mutant(
        "val scored with other crops",
        "components/finetune/validate.py",
        "yield split.center_crops(own[start : start + batch_size], crop_px)",
        "yield split.center_crops(own[start : start + batch_size], crop_px)[:, ::-1].copy()",
        TRAINING,
    ),
    Mutant("few images unsaid by fine-tuning", ADVICE, "if total < FEW_TRAIN_IMAGES:", "if False:", TRAINING),
    Mutant("small classes unsaid", ADVICE, "    if few:", "    if False:", TRAINING),
    Mutant(
        "few images unsaid by the baseline",
        "components/feature_extraction/run.py",
        '"expectation": words if few else None}',
        '"expectation": None}',
        TRAINING,
    ),
    Mutant(
        "the order of classes does not matter",
        CLASSIFIER,
        "if card.classes != manifest.classes:",
        "if set(card.classes) != set(manifest.classes):",
        SERVING,
    ),
    Mutant(
        "copies in other bytes stay",
        "components/ingest/copies.py",
        "same[picture.pixels_sha256, picture",
        "same[picture.id, picture",
        SERVING,
    ),
    Mutant(
        "test scored in train mode",
        INFERENCE,
        "model.eval().to(device).to(memory",
        "model.to(device).to(memory",
        SERVING,
    ),
    Mutant(
        "a batch frozen in the file",
        EXPORT,
        'dynamic_shapes=({0: torch.export.Dim("batch")},)',
        "dynamic_shapes=None",
        SERVING,
    ),
    Mutant("the exporter's own opset", EXPORT, "if opset == TARGET and", "if opset == 0 and", SERVING),
)
