"""The classifier artifact: backbone, head, preprocessing and classes. Of the shared modules only this and
`inference` know torch.

    card.json  weights.safetensors

Legend: N images, H height, W width, C channels (of images) or classes (of logits).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from components.interchange.artifact import write_card
from components.interchange.cards import ClassifierCard, Weights, read_classifier_card
from components.interchange.dataset import Manifest
from components.interchange.errors import BadInput, listed, memory_ran_out, near
from components.interchange.hub import hub_errors, wait_for_hub
from components.interchange.normalisation import normalise_rows
from components.interchange.preprocessing import Preprocessing
from components.interchange.pretrained import head_names, hub_origin, licence_of, pretrained_name, pretrained_size
from components.interchange.transfer import Transfer
from components.interchange.weights import weights_file

WEIGHTS_FILE = "weights.safetensors"
# Of a file that came damaged, or fits another backbone.
NO_WEIGHTS: tuple[type[Exception], ...] = (SafetensorError, UnpicklingError, RuntimeError)


class PixelsToLogits(nn.Module):
    """Raw pixels to logits: uint8 RGB [N, H, W, 3] in, [N, C] out. Normalisation is part of the model."""

    def __init__(self, model: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.preprocessing = preprocessing
        self.register_buffer("mean", 255 * torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels_NHWC: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] to normalised float [N, 3, H, W], in channels-last memory as it comes."""
        return normalised(pixels_NHWC, cast(Tensor, self.mean), cast(Tensor, self.std))

    def forward(self, pixels_NHWC: Tensor) -> Tensor:
        return cast(Tensor, self.model(self.normalise(pixels_NHWC)))


def normalised(pixels_NHWC: Tensor, mean_1C11: Tensor, std_1C11: Tensor) -> Tensor:
    """(pixels - mean) / std as float [N, 3, H, W] in channels-last memory.

    On a CPU by `normalise_rows`, bit for bit the same. Exporters see the plain expression.
    """
    exported = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    if exported or pixels_NHWC.device.type != "cpu":
        return (pixels_NHWC.permute(0, 3, 1, 2).float() - mean_1C11) / std_1C11
    num_images, height, width, channels = pixels_NHWC.shape
    rows_NHR = pixels_NHWC.detach().reshape(num_images, height, width * channels)
    mean_R, std_R = (each.detach().float().flatten().repeat(width).numpy() for each in (mean_1C11, std_1C11))
    images_NHR = torch.empty(rows_NHR.shape)
    normalise_rows(rows_NHR.numpy(), mean_R, std_R, images_NHR.numpy())
    return images_NHR.view(pixels_NHWC.shape).permute(0, 3, 1, 2)


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA where it is; `cuda` without CUDA is BadInput, never a silent CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA device here. Use --device cpu, or run on a GPU machine.")
    return torch.device(name)


def start(spec: Transfer, manifest: Manifest, store: str | None) -> tuple[nn.Module, Weights, Preprocessing]:
    """The backbone that a spec names under a new head for a dataset's classes, and the preprocessing it is to have."""
    model, weights = build(
        spec.backbone, len(manifest.classes), spec.weights, spec.weights_sha256, spec.input_size_px, store
    )
    return model, weights, preprocessing_of(model, manifest, spec.input_size_px)


def build(
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
    _check_known(backbone)
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
            _fill(model, file.path, by_order=weights.startswith("package:"), headless=True)
            licence = file.record.license if file.record else None
            found = Weights(origin=file.origin, sha256=file.sha256, license=licence)
    if input_size_px is not None and _input_size_is_built_in(backbone):
        _set_input_size(model, backbone, input_size_px)
    _set_head(model, num_classes)
    if input_size_px is not None and input_size_px != pretrained_size(model)[0]:
        _check_passes(model, backbone, input_size_px)
    return model, found


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


def from_hub(backbone: str) -> Any:
    """timm's own pretrained model with the head of its pretraining; BadInput where it cannot be had."""
    _check_known(backbone)
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


def _check_known(backbone: str) -> None:
    name, _, tag = backbone.partition(".")
    if not timm.is_model(name):
        raise BadInput(f"unknown backbone {backbone!r}.{near(name, timm.list_models())} All: timm.list_models().")
    tagged = timm.list_pretrained(f"{name}.*")
    if tag and backbone not in tagged:
        raise BadInput(f"unknown weights tag {backbone!r}; timm has {listed(tagged) or f'no tag for {name}'}.")


def _check_classifies(model: nn.Module, backbone: str) -> None:
    if not hasattr(model, "reset_classifier"):
        raise BadInput(f"{backbone} is no classifier: timm's {type(model).__name__} takes no head. Choose another one.")


def _input_size_is_built_in(backbone: str) -> bool:
    """Whether the model's tensors depend on the input size, as a ViT's position embeddings do."""
    return bool(timm.models.get_pretrained_cfg(backbone).fixed_input_size)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        return dict(state.get("state_dict", state))
    except UnpicklingError:  # Of which torch says how to run what the file holds.
        raise BadInput(
            f"{path.name} cannot be read as weights: it is no state dict of tensors alone. Expected .safetensors, or "
            "what torch.save makes of model.state_dict()."
        ) from None
    except Exception as error:  # Zip and safetensors each have errors of their own.
        reason = (str(error).splitlines() or [""])[0]
        raise BadInput(f"{path.name} cannot be read as weights ({type(error).__name__}: {reason}).") from None


def _fill(model: nn.Module, path: Path, *, by_order: bool = False, headless: bool = False) -> None:
    """Load a state dict by name, or (a package with its own names) by order; every shape is checked.

    `headless` leaves the head as it is: it belongs to the pretraining's classes and is replaced anyway.
    """
    state, wanted = _read_state(path), dict(model.state_dict())
    if by_order and len(state) == len(wanted):
        state = dict(zip(wanted, state.values(), strict=True))
    if headless:
        heads = tuple(f"{name}." for name in head_names(model))
        state = {name: tensor for name, tensor in state.items() if not name.startswith(heads)}
        wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith(heads)}
    wrong = [name for name, tensor in wanted.items() if name not in state or state[name].shape != tensor.shape]
    wrong += sorted(state.keys() - wanted.keys())
    if wrong:
        raise BadInput(f"{path.name} does not fit the backbone: {len(wrong)} tensors differ: {listed(wrong)}.")
    model.load_state_dict(state, strict=not headless)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes, types and bytes of a state dict, in the order of names."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


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


def savable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by name as safetensors takes them: on the CPU, contiguous, and none in the memory of another."""
    found: dict[str, Tensor] = {}
    taken = set[int]()
    for name, tensor in sorted(tensors.items()):
        here = tensor.detach().cpu().contiguous()
        found[name] = here.clone() if here.data_ptr() in taken else here
        taken.add(here.data_ptr())
    return found


def load(folder: Path) -> tuple[nn.Module, ClassifierCard]:
    """Read a classifier artifact: the model in eval mode on the CPU, and its card."""
    card = read_classifier_card(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise BadInput(f"{folder} has no {WEIGHTS_FILE}. Was the classifier copied whole?")
    _check_known(card.backbone)
    size = {"img_size": card.preprocessing.crop_px} if _input_size_is_built_in(card.backbone) else {}
    model = timm.create_model(card.backbone, **size)
    model.reset_classifier(len(card.classes))  # As `build` does: a head of distillation goes, with some backbones.
    _fill(model, path)
    return cast(nn.Module, model.eval()), card


def check_classes(card: ClassifierCard, manifest: Manifest) -> None:
    """BadInput when a classifier and a dataset do not have the same classes in the same order."""
    if card.classes != manifest.classes:
        raise BadInput(
            f"the classifier's classes ({listed(card.classes)}) are not the dataset's ({listed(manifest.classes)}), "
            "or stand in another order. Train on this dataset, or evaluate on the one it was trained on."
        )
