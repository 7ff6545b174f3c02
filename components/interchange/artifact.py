"""Artifacts: folders with one JSON card each, versioned, digested by content, readable without our code.

`run.json` beside the card holds what is no content: times, versions, host, run id. It is outside the digest, as is a
dataset's `sources.parquet`: where its source files lay, and when they were changed.
"""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from components.interchange.errors import BadInput, listed, what_is_wrong

M = TypeVar("M", bound=BaseModel)

RUN_FILE, SOURCES_FILE = "run.json", "sources.parquet"
NO_CONTENT = (RUN_FILE, SOURCES_FILE)
VERSIONS = {"dataset": 2, "classifier": 1, "onnx_model": 1, "report": 1, "share": 2}
CARDS = {
    "dataset": "manifest.json",
    "classifier": "card.json",
    "onnx_model": "card.json",
    "report": "report.json",
    "share": "share.json",
}


def to_json(content: Any) -> str:
    """Canonical JSON: sorted keys, UTF-8, no NaN, so that equal content has equal bytes."""
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_card(folder: Path, kind: str, content: dict[str, Any]) -> None:
    """Write an artifact's card with its format and version; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    card = {"format": f"graft.{kind}/{VERSIONS[kind]}", **content}
    (folder / CARDS[kind]).write_text(to_json(card), encoding="utf-8")


def read_card(folder: Path, kind: str) -> dict[str, Any]:
    """Read an artifact's card; BadInput when it is missing, damaged, of another kind or of a newer format."""
    path = folder / CARDS[kind]
    if not folder.is_dir():
        raise BadInput(f"there is no {kind} at {folder}: expected a folder with {path.name}.")
    if not path.is_file():
        found = listed(sorted(child.name for child in folder.iterdir())) or "nothing"
        raise BadInput(f"{folder} has no {path.name} (found: {found}). Was the {kind} copied whole?")
    try:
        card = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
        found_kind, _, version = card["format"].removeprefix("graft.").partition("/")
        newer = int(version) > VERSIONS[kind]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path} is not a card of Graft: expected JSON with a format ({error}).") from None
    if found_kind != kind:
        raise BadInput(f"{folder} is a {found_kind}, expected a {kind}.")
    if newer:
        raise BadInput(
            f"{folder} has format graft.{kind}/{version}; this Graft reads up to graft.{kind}/{VERSIONS[kind]}. "
            "Upgrade Graft, or make the artifact again with this version."
        )
    return dict(card)


def read_card_as(model: type[M], folder: Path, kind: str) -> M:
    """An artifact's card as a model of its fields; BadInput as `read_card`, and where a field is missing or wrong."""
    try:
        return model.model_validate(read_card(folder, kind))
    except ValidationError as error:
        raise BadInput(f"{folder / CARDS[kind]} is damaged: {what_is_wrong(error)}. Make the {kind} again.") from None


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def file_digest(path: Path) -> str:
    """sha256 of one file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """sha256 of every file, in hex, by its name here; several at a time."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(files, pool.map(file_digest, files.values()), strict=True))


def content_files(path: Path) -> dict[str, Path]:
    """The files that make up an artifact's content, by path relative to it. A lone file is its own content."""
    if path.is_file():
        return {path.name: path}
    inside = {child.relative_to(path).as_posix(): child for child in path.rglob("*") if child.is_file()}
    return {name: inside[name] for name in sorted(inside) if name not in NO_CONTENT}


def digest(path: Path) -> str:
    """sha256 of an artifact's content: of the sorted list of its files' names and sha256. NO_CONTENT is left out.

    A lone file (a verdict) counts by its bytes alone, whatever its name.
    """
    if path.is_file():
        return file_digest(path)
    return folder_digest(file_digests(content_files(path)))


def folder_digest(sha256_by_name: Mapping[str, str]) -> str:
    """The digest of a folder whose files have these sha256, by path relative to it."""
    lines = [f"{sha256_by_name[name]}  {name}\n" for name in sorted(sha256_by_name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
