"""State dicts: read from files, fitted into models, told apart by a digest."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from components.interchange.errors import BadInput, listed
from components.interchange.pretrained import head_names


def fill(model: nn.Module, path: Path, *, by_order: bool = False, headless: bool = False) -> None:
    """Load a state dict by name, or (a package with its own names) by order; every shape is checked.

    `headless` leaves the head as it is: it belongs to the pretraining's classes and is replaced anyway.
    """
    state, wanted = _read(path), dict(model.state_dict())
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


def savable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by name as safetensors takes them: on the CPU, contiguous, and none in the memory of another."""
    found: dict[str, Tensor] = {}
    taken = set[int]()
    for name, tensor in sorted(tensors.items()):
        here = tensor.detach().cpu().contiguous()
        found[name] = here.clone() if here.data_ptr() in taken else here
        taken.add(here.data_ptr())
    return found


def _read(path: Path) -> dict[str, Tensor]:
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
