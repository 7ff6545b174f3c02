"""Where the defaults that no recipe sets come from. The values themselves stand in the steps' specs.

A name that is missing here has no other source than its spec: chosen, and not measured.
"""

from collections.abc import Mapping
from typing import NamedTuple

from components.interchange.step import parameters
from pipelines.recipes import DEFAULT, RECIPES, Setting
from pipelines.steps import STEPS


class Source(NamedTuple):
    """Where a default comes from, and whether we measured it."""

    words: str
    measured: bool = False


OFF = "off: nothing unless asked for"
HARDWARE = "the machine's own choice"
SOURCES: Mapping[str, Source] = {
    "ingest.val_fraction": Source("convention: 60, 20 and 20 %"),
    "ingest.test_fraction": Source("convention: 60, 20 and 20 %"),
    "feature_extraction.l2_candidates": Source("five decades; val chooses, and the report shows all of them"),
    "feature_extraction.batch_size": Source(
        "any: scoring runs in parts of 8 images on a CPU, 72 images/s for 58", True
    ),
    "finetune.stage_multipliers": Source(
        "fine-tuned on 1,200 images of woven fabric: val top1 0.95 after 4 epochs", True
    ),
    "finetune.frozen_batchnorm": Source("frozen means frozen; on woven fabric adapt was better, 0.89 for 0.86", True),
    "finetune.unfreeze_at": Source(OFF),
    "finetune.max_minutes": Source(OFF),
    "finetune.device_batch_size": Source("batch_size, halved where memory runs out"),
    "finetune.clip_norm": Source(OFF),
    "finetune.ema_decay": Source(OFF),
    "finetune.class_weights": Source("off: the report warns where classes are five times as large as others"),
    "finetune.crop": Source("windows at stored scale: what a defect looks like hangs on its size"),
    "finetune.augment": Source("fine-tuned on 1,200 images of woven fabric, flips and windows only", True),
    "finetune.augment_strength": Source("half of RandAugment's largest magnitudes (arXiv:1909.13719)"),
    "finetune.vertical_flips": Source("off: most pictures have an up"),
    "finetune.mixup": Source(OFF),
    "finetune.cutmix": Source(OFF),
    "finetune.compile_model": Source("off: needs a C++ compiler, and has not been measured on a GPU"),
    "finetune.checkpoint_every_s": Source("at most a minute is lost"),
    "evaluate.bootstrap_samples": Source("Efron and Tibshirani: 1,000 and more for intervals"),
    "evaluate.ece_bins": Source("Guo et al. 2017 (arXiv:1706.04599): 15 bins"),
    "export_onnx.opset": Source("what most servers and chips in use read"),
    **{
        f"{step.name}.device": Source(HARDWARE)
        for step in STEPS
        if any(parameter.name == "device" for parameter in parameters(step.spec))
    },
}


def defaults() -> list[Setting]:
    """Every default of every step that not all recipes set, as `step.parameter`, with its source."""
    always = set.intersection(*({setting.name for setting in recipe.settings} for recipe in RECIPES))
    return [
        Setting(name, parameter.default, *SOURCES.get(name, Source(DEFAULT)))
        for step in STEPS
        for parameter in parameters(step.spec)
        if not parameter.required and not {parameter.name, name := f"{step.name}.{parameter.name}"} & always
    ]
