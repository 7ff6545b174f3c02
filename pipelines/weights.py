"""Pretrained weights in a store: fetched once from timm's hub, for machines and clusters without a network."""

import tempfile
from pathlib import Path
from typing import Any

from components.interchange.artifact import file_digest, to_json
from components.interchange.blobs import Blobs, open_blobs
from components.interchange.weights import FOLDER, WeightsRecord, read_record, record_key, weights_key


def fetch(backbone: str, store: str) -> tuple[WeightsRecord, bool]:
    """Copy a backbone's weights from timm's hub to the store, with their record; False where they were there already.

    Weights first, then the record, without which they do not count. BadInput where the hub cannot be reached.
    """
    blobs, key = open_blobs(store), weights_key(backbone)
    there = _whole(blobs, key)
    if there is not None:
        return there, False
    from safetensors.torch import save_file

    from components.interchange.backbone import from_hub
    from components.interchange.pretrained import hub_origin, licence_of, pretrained_name
    from components.interchange.state_dicts import savable

    model = from_hub(backbone)
    with tempfile.TemporaryDirectory(prefix="graft-weights-") as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(savable(model.state_dict()), path)
        record = WeightsRecord(
            backbone=backbone,
            pretrained=pretrained_name(model),
            origin=hub_origin(model),
            license=licence_of(model),
            sha256=file_digest(path),
            size_bytes=path.stat().st_size,
        )
        blobs.put_file(key, path)
    blobs.put(record_key(key), to_json(record.model_dump(mode="json")).encode())
    return record, True


def weights_in(store: str) -> list[dict[str, Any]]:
    """The weights of a store by backbone: timm's name, licence, size, sha256, and whether the file is there in full."""
    blobs = open_blobs(store)
    names = [key for key in blobs.list(f"{FOLDER}/") if key.endswith(".json")]
    keys = [weights_key(name.removeprefix(f"{FOLDER}/").removesuffix(".json")) for name in names]
    sizes = blobs.sizes(f"{FOLDER}/")
    found = [(key, record) for key in keys if (record := read_record(blobs, key)) is not None]
    return [
        {**record.model_dump(exclude={"format"}), "whole": sizes.get(key) == record.size_bytes} for key, record in found
    ]


def _whole(blobs: Blobs, key: str) -> WeightsRecord | None:
    record = read_record(blobs, key)
    sizes = blobs.sizes(key)
    return record if record is not None and sizes.get(key) == record.size_bytes else None
