"""What timm's configuration of a model's pretrained weights says of them (`pretrained_cfg`)."""

from typing import Any


def pretrained_name(model: Any) -> str:
    """timm's full name of a model's pretrained weights, like `resnet18.a1_in1k`: the preprocessing hangs on it."""
    config = model.pretrained_cfg
    return f"{config['architecture']}.{config['tag']}" if config.get("tag") else str(config["architecture"])


def hub_origin(model: Any) -> str:
    """Where timm takes a model's pretrained weights from."""
    return f"hub:{model.pretrained_cfg.get('hf_hub_id') or model.pretrained_cfg.get('url')}"


def licence_of(model: Any) -> str | None:
    """Licence of the weights, as timm states it; None where it states none."""
    found: str | None = model.pretrained_cfg.get("license")
    return found


def head_names(model: Any) -> tuple[str, ...]:
    """Names of the layers that are the head: `fc`, or several."""
    name = model.pretrained_cfg["classifier"]
    return (name,) if isinstance(name, str) else tuple(name)


def pretrained_size(model: Any) -> tuple[int, bool]:
    """Input size of the pretraining in pixels, and whether another size needs resampled position embeddings."""
    config = model.pretrained_cfg
    return int(config["input_size"][-1]), bool(config.get("fixed_input_size"))
