"""What lies in a store, whether it is whole, and what nobody needs any more."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.interchange.artifact import digest as content_digest
from components.interchange.blobs import check_folder
from components.interchange.champion import ChampionRecord, model_prefix, read_pointer
from components.interchange.errors import BadInput
from components.interchange.progress import progress
from pipelines import run_list
from pipelines.lock import no_run
from pipelines.store import Store

# A model lies in the store a moment before the pointer names it: a promotion may be under way outside of any run.
YOUNG_MODEL_S = 3600.0
MANIFEST = ".files.json"


@dataclass(frozen=True)
class Item:
    """An artifact or a published model. `what` says which step makes it; `published` is UTC, None if it never was."""

    folder: str
    digest: str
    what: str
    files: int
    size_bytes: int
    published: datetime | None


def items(store: Store) -> list[Item]:
    """Everything that takes room in a store, the newest first."""
    made = made_by(store)
    found = [
        _item(store.root, folder, name, made.get(name, "artifact") if folder == "artifacts" else "published model")
        for folder in ("artifacts", "models")
        for name in _names(store.root / folder)
    ]
    return sorted(found, key=lambda item: (item.published is None, item.published, item.digest), reverse=True)


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted({path.name.removesuffix(MANIFEST) for path in folder.iterdir()})


def _item(root: Path, folder: str, name: str, what: str) -> Item:
    place, manifest = root / folder / name, root / folder / f"{name}{MANIFEST}"
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
    published = datetime.fromtimestamp(manifest.stat().st_mtime, UTC) if manifest.is_file() else None
    return Item(folder, name, what, len(sizes), sum(sizes), published)


def made_by(store: Store) -> dict[str, str]:
    """Artifact digest -> `step.port` of the step that made it, as the keys tell."""
    return {
        digest: f"{record['step']}.{port}" for _, record in _keys(store) for port, digest in record["outputs"].items()
    }


def _keys(store: Store) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((store.root / "keys").glob("*.json")):
        record = run_list.read(path)
        if record is not None:
            yield path, record


def faults(store: Store) -> dict[str, str]:
    """What is damaged, `artifacts/DIGEST` or `models/DIGEST` -> in words, by the sha256 of every file."""
    found = {}
    for item in progress([one for one in items(store) if one.published], "verifying", unit=" artifacts"):
        name = f"{item.folder}/{item.digest}"
        words = _artifact_fault(store, item.digest) if item.folder == "artifacts" else _model_fault(store, item.digest)
        if words:
            found[name] = words
    for record in _champions(store):
        for digest in {one.digest for one in [record, *record.history]}:
            if store.blobs.get(f"{model_prefix(digest)}{MANIFEST}") is None:
                found[model_prefix(digest)] = "is missing, though a champion's record names it"
    return found


def _artifact_fault(store: Store, digest: str) -> str:
    wrong = store.damage(digest, every_byte=True)
    if not wrong and content_digest(store.artifact(digest)) != digest:
        wrong = ["its files and their list do not have this digest"]
    return "; ".join(wrong)


def _model_fault(store: Store, digest: str) -> str:
    folder = store.root / model_prefix(digest)
    try:
        manifest = store.blobs.folder_manifest(model_prefix(digest))
        assert manifest is not None
        check_folder(folder, manifest)
    except BadInput as error:
        return str(error)
    return "" if content_digest(folder) == digest else "its files and their list do not have this digest"


def forget(store: Store, names: list[str]) -> None:
    """Drop the file lists of damaged artifacts: no key finds them any more, and the next run makes them again."""
    with no_run(store.root, "graft store verify --forget"):
        for name in names:
            (store.root / f"{name}{MANIFEST}").unlink(missing_ok=True)


def unneeded(store: Store, keep_runs: int) -> list[Item]:
    """What no champion, none of the newest `keep_runs` runs and no model name's latest state needs.

    A champion needs its model and the models before it, for a rollback, and what its run made. Never published
    leftovers of killed runs count as unneeded; models that were published within the last hour do not.
    """
    champions = _champions(store)
    artifacts = _needed_artifacts(store, keep_runs, champions)
    models = {one.digest for record in champions for one in [record, *record.history]}
    now = datetime.now(UTC)

    def young(item: Item) -> bool:
        return item.published is None or (now - item.published).total_seconds() < YOUNG_MODEL_S

    found = items(store)
    return [item for item in found if item.folder == "artifacts" and item.digest not in artifacts] + [
        item for item in found if item.folder == "models" and item.digest not in models and not young(item)
    ]


def _needed_artifacts(store: Store, keep_runs: int, champions: list[ChampionRecord]) -> set[str]:
    kept = {*run_list.newest_first(store.root)[:keep_runs], *(one.run_id for one in champions if one.run_id)}
    needed = {digest for run_id in kept for digest in run_list.outputs(store.root / "runs" / run_id)}
    latest = [run_list.read(path) or {} for path in (store.root / "latest").glob("*/*.json")]
    current = {record.get("key") for record in latest}
    for path, record in _keys(store):
        if path.stem in current or record["run_id"] in kept:
            needed.update(record["outputs"].values())
    return needed


def _champions(store: Store) -> list[ChampionRecord]:
    names = [key.removeprefix("champions/").removesuffix(".json") for key in store.blobs.list("champions/")]
    found = [read_pointer(store.blobs, name) for name in names]
    return [one[0] for one in found if one is not None]


def clear(store: Store, keep_runs: int) -> list[Item]:
    """Remove what is unneeded, while no run is under way: keys first, then the lists of files, then the files."""
    with no_run(store.root, "graft store gc"):
        removed = unneeded(store, keep_runs)
        artifacts = {item.digest for item in removed if item.folder == "artifacts"}
        for path, record in _keys(store):
            if artifacts & set(record["outputs"].values()):
                path.unlink()
        for item in removed:
            (store.root / item.folder / f"{item.digest}{MANIFEST}").unlink(missing_ok=True)
            place = store.root / item.folder / item.digest
            if place.is_dir():
                shutil.rmtree(place)
        return removed
