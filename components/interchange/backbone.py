"""A pretrained backbone under a new head, wherever its weights come from: timm's hub, a store, a package or a file."""

from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from torch import nn

from components.interchange.cards import Weights
from components.interchange.errors import BadInput, listed, memory_ran_out, near
from components.interchange.hub import hub_errors, wait_for_hub
from components.interchange.pretrained import head_names, hub_origin, licence_of, pretrained_name, pretrained_size
from components.interchange.state_dicts import fill, state_digest
from components.interchange.weights import weights_file

# Of a file that came damaged, or fits another backbone.
NO_WEIGHTS: tuple[type[Exception], ...] = (SafetensorError, UnpicklingError, RuntimeError)


def build_model(
    backbone: str,
    num_classes: int,
    weights: str,
    weights_sha256: str | None = None,
    input_size_px: int | None = None,
    store: str | None = None,
) -> tuple[nn.Module, Weights]:
    """A pretrained backbone under a new, randomly initialised head of `num_classes`.

    `weights` is `hub` (timm's own), `store` (fetched into `store`), `package:NAME` (an installed package that ships one
    weights file), an s3:// URI or a file (.safetensors, or a .pth state dict). BadInput on an unknown backbone and on
    weights that are missing or do not fit: nothing but the head is ever random. A backbone whose tensors depend on the
    input size (a ViT's position embeddings) has them resampled to `input_size_px`.
    """
    check_known(backbone)
    if weights == "hub":
        model = from_hub(backbone)
        found = Weights(origin=hub_origin(model), sha256=state_digest(model.state_dict()), license=licence_of(model))
        if weights_sha256 not in (None, found.sha256):
            raise BadInput(
                f"weights {found.origin} have sha256 {found.sha256}, expected {weights_sha256} (--weights-sha256)."
            )
    else:
        with weights_file(weights, backbone, weights_sha256, store) as file:
            model = timm.create_model(backbone)
            _check_classifies(model, backbone)
            if file.record is not None and file.record.pretrained != pretrained_name(model):
                raise BadInput(
                    f"{file.path.name} holds the weights {file.record.pretrained}, but {backbone} is "
                    f"{pretrained_name(model)} to timm, with a preprocessing of its own. Name the backbone "
                    f"{file.record.pretrained}."
                )
            fill(model, file.path, by_order=weights.startswith("package:"), headless=True)
            licence = file.record.license if file.record else None
            found = Weights(origin=file.origin, sha256=file.sha256, license=licence)
    if input_size_px is not None and input_size_is_built_in(backbone):
        _set_input_size(model, backbone, input_size_px)
    _set_head(model, num_classes)
    if input_size_px is not None and input_size_px != pretrained_size(model)[0]:
        _check_passes(model, backbone, input_size_px)
    return model, found


def from_hub(backbone: str) -> Any:
    """timm's own pretrained model with the head of its pretraining; BadInput where it cannot be had."""
    check_known(backbone)
    config = timm.models.get_pretrained_cfg(backbone)
    if not config.has_weights:
        raise BadInput(f"timm has no pretrained weights of {backbone}. Name a file with --weights.")
    try:
        if config.hf_hub_id:
            wait_for_hub(config.hf_hub_id)
        model = timm.create_model(backbone, pretrained=True)
    except (*hub_errors(), *NO_WEIGHTS) as error:
        raise BadInput(
            f"the pretrained weights of {backbone} could not be had from timm's hub ({type(error).__name__}: {error}). "
            f"Without a network: on a machine with one, graft weights fetch {backbone} --store URI, then --weights "
            "store; or name a file with --weights."
        ) from None
    _check_classifies(model, backbone)
    return model


def check_known(backbone: str) -> None:
    """BadInput where timm knows no such model, or no weights of that tag; with names that are near."""
    name, _, tag = backbone.partition(".")
    if not timm.is_model(name):
        raise BadInput(f"unknown backbone {backbone!r}.{near(name, timm.list_models())} All: timm.list_models().")
    tagged = timm.list_pretrained(f"{name}.*")
    if tag and backbone not in tagged:
        raise BadInput(f"unknown weights tag {backbone!r}; timm has {listed(tagged) or f'no tag for {name}'}.")


def _check_classifies(model: nn.Module, backbone: str) -> None:
    if not hasattr(model, "reset_classifier"):
        raise BadInput(f"{backbone} is no classifier: timm's {type(model).__name__} takes no head. Choose another one.")


def input_size_is_built_in(backbone: str) -> bool:
    """Whether the model's tensors depend on the input size, as a ViT's position embeddings do."""
    return bool(timm.models.get_pretrained_cfg(backbone).fixed_input_size)


def _set_head(model: Any, num_classes: int) -> None:
    """A new, random head; layers below it stay pretrained, though timm makes some of them anew (CAFormer, LeViT)."""
    before = dict(model.state_dict())
    model.reset_classifier(num_classes)
    heads = tuple(f"{name}." for name in head_names(model))
    kept = {name: before[name] for name in model.state_dict() if name in before and not name.startswith(heads)}
    model.load_state_dict(kept, strict=False)


def _set_input_size(model: Any, backbone: str, input_size_px: int) -> None:
    if hasattr(model, "set_input_size"):
        _check_patches(model, input_size_px)
        model.set_input_size(img_size=input_size_px)
        return
    own_px = model.pretrained_cfg["input_size"][-1]
    if input_size_px != own_px:
        raise BadInput(f"--input-size-px {input_size_px}: {backbone} can take images of {own_px} px alone.")


def _check_patches(model: Any, input_size_px: int) -> None:
    found = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    patch_px = found if isinstance(found, int) else found[0]
    if input_size_px % patch_px:
        near_px = max(1, round(input_size_px / patch_px)) * patch_px
        raise BadInput(
            f"--input-size-px {input_size_px}: for {type(model).__name__} it is no multiple of its patch size, "
            f"{patch_px} px. Take {near_px}."
        )


def _check_passes(model: nn.Module, backbone: str, input_size_px: int) -> None:
    """BadInput where images of this size shrink to less than a kernel, or fit no window or patch, inside the model."""
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, input_size_px, input_size_px))
    except (RuntimeError, AssertionError) as error:
        if memory_ran_out(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"--input-size-px {input_size_px}: {backbone} cannot take images of this size ({reason}). Take "
            f"{pretrained_size(model)[0]}, as its pretraining did, or another --backbone."
        ) from None
    model.train()
