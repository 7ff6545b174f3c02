"""The classifier artifact: backbone, head, preprocessing and classes, as `card.json` and `weights.safetensors`."""

from pathlib import Path
from typing import Any, cast

import timm
from safetensors.torch import save_file
from torch import nn

from components.interchange.artifact import write_card
from components.interchange.backbone import build_model, check_known, input_size_is_built_in
from components.interchange.cards import ClassifierCard, Weights, read_classifier_card
from components.interchange.dataset import Manifest
from components.interchange.errors import BadInput, listed
from components.interchange.preprocessing import Preprocessing
from components.interchange.state_dicts import fill, savable
from components.interchange.transfer import Transfer

WEIGHTS_FILE = "weights.safetensors"


def start(spec: Transfer, manifest: Manifest, store: str | None) -> tuple[nn.Module, Weights, Preprocessing]:
    """The backbone that a spec names under a new head for a dataset's classes, and the preprocessing it is to have."""
    model, weights = build_model(
        spec.backbone, len(manifest.classes), spec.weights, spec.weights_sha256, spec.input_size_px, store
    )
    return model, weights, preprocessing_of(model, manifest, spec.input_size_px)


def preprocessing_of(model: nn.Module, manifest: Manifest, input_size_px: int | None = None) -> Preprocessing:
    """The weights' own normalisation with the dataset's stored size; BadInput when the images are stored too small."""
    config = cast(dict[str, Any], model.pretrained_cfg)
    crop_px = input_size_px or int(config["input_size"][-1])
    if manifest.stored_size_px < crop_px:
        raise BadInput(
            f"the dataset stores images with a short side of {manifest.stored_size_px} px; the model's input is "
            f"{crop_px} px. Run ingest with --stored-size-px {round(crop_px / config['crop_pct'])}."
        )
    return Preprocessing(
        resize_short_px=manifest.stored_size_px,
        interpolation=manifest.interpolation,
        crop_px=crop_px,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def save(folder: Path, model: nn.Module, card: ClassifierCard) -> None:
    """Write a classifier artifact. Equal weights and card give equal bytes."""
    write_card(folder, "classifier", card.model_dump(mode="json", exclude={"format"}))
    save_file(savable(model.state_dict()), folder / WEIGHTS_FILE)


def load(folder: Path) -> tuple[nn.Module, ClassifierCard]:
    """Read a classifier artifact: the model in eval mode on the CPU, and its card."""
    card = read_classifier_card(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise BadInput(f"{folder} has no {WEIGHTS_FILE}. Was the classifier copied whole?")
    check_known(card.backbone)
    size = {"img_size": card.preprocessing.crop_px} if input_size_is_built_in(card.backbone) else {}
    model = timm.create_model(card.backbone, **size)
    model.reset_classifier(len(card.classes))  # As when it was built: some have a head of distillation, too.
    fill(model, path)
    return cast(nn.Module, model.eval()), card


def check_classes(card: ClassifierCard, manifest: Manifest) -> None:
    """BadInput when a classifier and a dataset do not have the same classes in the same order."""
    if card.classes != manifest.classes:
        raise BadInput(
            f"the classifier's classes ({listed(card.classes)}) are not the dataset's ({listed(manifest.classes)}), "
            "or stand in another order. Train on this dataset, or evaluate on the one it was trained on."
        )
