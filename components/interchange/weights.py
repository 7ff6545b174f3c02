"""Pretrained weights as files: how they are named, found and checked, and the record that lies beside fetched ones.

    weights/<backbone>.safetensors  weights/<backbone>.json      in a store; written by `graft weights fetch`

Read without torch: step keys need the sha256 alone.
"""

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from components.interchange.artifact import file_digest
from components.interchange.blobs import Blobs, open_blobs
from components.interchange.errors import BadInput, listed

FOLDER = "weights"
EXPECTED = "Expected hub, store, package:NAME, an s3:// URI or a file."


class WeightsRecord(BaseModel):
    """What is known of a weights file. `pretrained` is timm's full name, whose preprocessing belongs to the weights."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["graft.weights/1"] = "graft.weights/1"
    backbone: str
    pretrained: str
    origin: str
    license: str | None
    sha256: str
    size_bytes: int


class WeightsFile(NamedTuple):
    """A file that is there, with the sha256 that it must have; `record` is None where nothing is known of it."""

    path: Path
    origin: str
    sha256: str
    record: WeightsRecord | None


def weights_key(backbone: str) -> str:
    """Where a store keeps the weights of a backbone."""
    return f"{FOLDER}/{backbone}.safetensors"


def record_key(key: str) -> str:
    """Where the record of a weights file lies: beside it, `.json` instead of its suffix."""
    return f"{key.rpartition('.')[0]}.json"


def read_record(blobs: Blobs, key: str) -> WeightsRecord | None:
    """The record beside a weights file; None where there is none of ours."""
    found = blobs.get(record_key(key))
    if found is None:
        return None
    try:
        return WeightsRecord.model_validate_json(found)
    except ValidationError:
        return None


@contextmanager
def weights_file(weights: str, backbone: str, sha256: str | None, store: str | None) -> Iterator[WeightsFile]:
    """The file that `weights` (not `hub`) names; what comes from S3 is gone afterwards.

    BadInput when it is missing, or has not the sha256 that was given or recorded.
    """
    blobs, key = _remote(weights, backbone, store)
    if blobs is None or key is None:
        path = _local_path(weights)
        record = read_record(open_blobs(str(path.parent.absolute())), path.name)
        origin = weights if weights.startswith("package:") else f"file:{path.name}"
        yield _checked(path, record.origin if record else origin, sha256, record)
        return
    record = read_record(blobs, key)
    _expected(weights, backbone, sha256, record, blobs, key)
    origin = record.origin if record else f"file:{key}"
    in_place = blobs.folder_in_place(FOLDER)
    if in_place is not None:
        yield _checked(in_place.parent / key, origin, sha256, record)
        return
    with tempfile.TemporaryDirectory(prefix="graft-weights-") as folder:
        path = Path(folder) / Path(key).name
        if not blobs.get_file(key, path):
            raise BadInput(f"--weights {weights}: there is no {blobs.uri}/{key}.")
        yield _checked(path, origin, sha256, record)


def weights_sha256(weights: str, backbone: str, sha256: str | None, store: str | None) -> str:
    """The sha256 that the file `weights` names has, or (S3 and stores) must have; nothing large is fetched."""
    blobs, key = _remote(weights, backbone, store)
    if blobs is None or key is None:
        return file_digest(_local_path(weights))
    return _expected(weights, backbone, sha256, read_record(blobs, key), blobs, key)


def _remote(weights: str, backbone: str, store: str | None) -> tuple[Blobs | None, str | None]:
    """Blobs and key of weights in a store or on S3; nothing for local ones."""
    if weights == "store":
        if store is None:
            raise BadInput("--weights store: no store was given. Add --store URI.")
        return open_blobs(store), weights_key(backbone)
    if weights.startswith("s3://"):
        place, _, key = weights.rpartition("/")
        if place == "s3:/" or "." not in key:
            raise BadInput(f"--weights {weights}: expected s3://BUCKET/FOLDER/FILE.safetensors, or .pth.")
        return open_blobs(place), key
    return None, None


def _expected(
    weights: str, backbone: str, sha256: str | None, record: WeightsRecord | None, blobs: Blobs, key: str
) -> str:
    """The sha256 that remote weights must have: given, or on record."""
    uri = blobs.uri
    if weights == "store" and record is None:
        found = [one.removeprefix(f"{FOLDER}/").removesuffix(".json") for one in blobs.list(f"{FOLDER}/")]
        names = [name for name in found if not name.endswith(".safetensors")]
        raise BadInput(
            f"--weights store: {uri} has no weights of {backbone} (it has: {listed(names) or 'none'}). On a machine "
            f"with a network: graft weights fetch {backbone} --store {uri}"
        )
    if sha256 is None and record is None:
        if key not in blobs.list(key):
            raise BadInput(f"--weights {weights}: there is no {uri}/{key}.")
        raise BadInput(
            f"--weights {weights}: no sha256 to hold the file to. Give --weights-sha256, or put weights there with "
            "graft weights fetch, which records it."
        )
    return sha256 or (record.sha256 if record else "")


def _local_path(weights: str) -> Path:
    if not weights.startswith("package:"):
        try:
            there = Path(weights).is_file()
        except OSError as error:  # No permission for a folder on the way, a name that is too long.
            raise BadInput(f"--weights {weights}: cannot be read ({error.strerror}). {EXPECTED}") from None
        if not there:
            fault = "it is a folder" if Path(weights).is_dir() else "there is no such file"
            raise BadInput(f"--weights {weights}: {fault}. {EXPECTED}")
        return Path(weights)
    package = weights.removeprefix("package:")
    # A name with dots would import what is before them.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        remedy = "Install it, and name it as Python imports it (_ for -); the demo's comes with graft[demo]."
        raise BadInput(f"--weights {weights}: the package {package} is not installed. {remedy}")
    found = [path for kind in ("*.pth", "*.safetensors") for path in sorted(Path(spec.origin).parent.rglob(kind))]
    if len(found) != 1:
        raise BadInput(
            f"--weights {weights}: expected one weights file in the package, found {listed(found) or 'none'}."
        )
    return found[0]


def _checked(path: Path, origin: str, sha256: str | None, record: WeightsRecord | None) -> WeightsFile:
    if not path.is_file():
        raise BadInput(f"there is no weights file {path}, though its record is there. Fetch it again.")
    try:
        found = file_digest(path)
    except OSError as error:
        raise BadInput(f"the weights file {path} cannot be read: {error.strerror}.") from None
    for wanted, who in ((sha256, "--weights-sha256"), (record and record.sha256, f"{path.stem}.json")):
        if wanted is not None and found != wanted:
            raise BadInput(f"weights {path.name} have sha256 {found}, expected {wanted} ({who}).")
    return WeightsFile(path, origin, found, record)
