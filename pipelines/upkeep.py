"""What lies in a store, whether it is whole, and what nobody needs any more."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.interchange.blobs import MANIFEST_SUFFIX, Damaged, FolderManifest, manifest_key
from components.interchange.champion import ChampionRecord, model_names, model_prefix, read_pointer
from components.interchange.errors import BadInput
from components.interchange.progress import progress
from components.interchange.summary import BROKEN_OFF
from pipelines import run_list
from pipelines.lease import holders, told
from pipelines.lock import no_run
from pipelines.run_order import newest_first
from pipelines.store import Store

# A model lies in the store a moment before the pointer names it, an artifact before its key does: on S3, or outside of
# any run, that moment may be now.
SETTLED_S = 3600.0
# A training that failed may still be taken up from its checkpoint, but not after so long.
ABANDONED_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Item:
    """An artifact or a published model. `what` says which step makes it; `published` is UTC, None if it never was.

    `written` is the same, or when the last of its files was written.
    """

    folder: str
    digest: str
    what: str
    files: int
    size_bytes: int
    published: datetime | None
    written: datetime


def items(store: Store) -> list[Item]:
    """Everything that takes room in a store, the newest first."""
    made = made_by(store)
    found = [
        _item("artifacts", name, files, made.get(name) or _kind(store, name, files))
        for name, files in _stored(store, "artifacts").items()
    ]
    found += [_item("models", name, files, "published model") for name, files in _stored(store, "models").items()]
    return sorted(found, key=lambda item: (item.published is None, item.published, item.digest), reverse=True)


def _stored(store: Store, folder: str) -> dict[str, dict[str, tuple[int, datetime]]]:
    """The entries of a folder's artifacts or models by digest, each with its manifest."""
    found: dict[str, dict[str, tuple[int, datetime]]] = {}
    for key, entry in store.blobs.entries(f"{folder}/").items():
        name = key.split("/")[1].removesuffix(MANIFEST_SUFFIX)
        found.setdefault(name, {})[key] = entry
    return found


def _item(folder: str, name: str, files: Mapping[str, tuple[int, datetime]], what: str) -> Item:
    manifest = files.get(manifest_key(f"{folder}/{name}"))
    sizes = [size for key, (size, _) in files.items() if key.startswith(f"{folder}/{name}/")]
    published = manifest[1] if manifest else None
    written = published or max(when for _, when in files.values())
    return Item(folder, name, what, len(sizes), sum(sizes), published, written)


def _kind(store: Store, name: str, files: Mapping[str, tuple[int, datetime]]) -> str:
    """Of an artifact that no key names: whose report it is, if it is one. Promotions are done anew, so have no key."""
    key = f"artifacts/{name}/report.json"
    report = store.record(key) if key in files else None
    return "artifact" if report is None else f"{report.get('step', 'artifact')}.report"


def made_by(store: Store) -> dict[str, str]:
    """Artifact digest -> `step.port` of the step that made it, as the keys tell."""
    return {
        digest: f"{record['step']}.{port}" for _, record in _keys(store) for port, digest in record["outputs"].items()
    }


def _keys(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is not to be made sense of is refused, not left out: `gc` would take its artifacts for unneeded."""
    for key in store.blobs.list("keys/"):
        record = store.key_record(key.removeprefix("keys/").removesuffix(".json"))
        if record is not None and {"step", "run_id"} <= record.keys():
            yield key, record
        elif store.blobs.get(key) is not None:
            raise BadInput(f"{store.where(key)} is damaged. Remove it: the next run makes what it needs again.")


def faults(store: Store) -> dict[str, str]:
    """What is damaged, `artifacts/DIGEST` or `models/DIGEST` -> in words, by the sha256 of every file."""
    found = {}
    for item in progress([one for one in items(store) if one.published], "verifying", unit=" artifacts"):
        words = _artifact_fault(store, item.digest) if item.folder == "artifacts" else _model_fault(store, item.digest)
        if words:
            found[f"{item.folder}/{item.digest}"] = words
    for record in _champions(store):
        for digest in {one.digest for one in [record, *record.history]}:
            if store.blobs.get(manifest_key(model_prefix(digest))) is None:
                found[model_prefix(digest)] = "is missing, though a champion's record names it"
    return found


def _artifact_fault(store: Store, digest: str) -> str:
    manifest = _manifest(store, f"artifacts/{digest}")
    return "; ".join(store.damage(digest, every_byte=True)) or _other_content(manifest, digest)


def _model_fault(store: Store, digest: str) -> str:
    manifest = _manifest(store, model_prefix(digest))
    if manifest is None:
        return "its list of files is damaged"
    faults = store.blobs.folder_faults(model_prefix(digest), manifest, every_byte=True)
    return "; ".join(faults) or _other_content(manifest, digest)


def _manifest(store: Store, prefix: str) -> FolderManifest | None:
    try:
        return store.blobs.folder_manifest(prefix)
    except Damaged:
        return None


def _other_content(manifest: FolderManifest | None, digest: str) -> str:
    """Whether a list of files that is right in itself belongs to another artifact."""
    is_right = manifest is not None and manifest.is_of(digest)
    return "" if is_right else "its files and their list do not have this digest"


def forget(store: Store, names: list[str]) -> None:
    """Drop the file lists of damaged artifacts: no key finds them any more, and the next run makes them again."""
    with no_run(store.root, "graft store verify --forget"):
        for name in names:
            store.forget(name.removeprefix("artifacts/"))


def unneeded(store: Store, keep_runs: int) -> list[Item]:
    """What no champion, none of the newest `keep_runs` runs and no model name's latest state needs.

    A champion needs its model and the models before it, for a rollback, and what its run made. Never published
    leftovers of killed runs count as unneeded; models, and artifacts on S3, of the last hour do not. Nobody needs the
    checkpoints of trainings that are done, or that nobody has taken up for a week.
    """
    champions = _champions(store)
    artifacts = _needed_artifacts(store, keep_runs, champions)
    models = {one.digest for record in champions for one in [record, *record.history]}
    now = datetime.now(UTC)

    def settled(item: Item) -> bool:
        if item.folder == "artifacts" and store.in_place:  # Whatever writes them here is kept out meanwhile.
            return True
        return (now - item.written).total_seconds() >= SETTLED_S

    needed = {"artifacts": artifacts, "models": models}
    found = [item for item in items(store) if item.digest not in needed[item.folder] and settled(item)]
    return found + [item for item in _checkpoints(store) if settled(item) and _is_over(store, item, now)]


def _checkpoints(store: Store) -> list[Item]:
    """What trainings have saved: under their step's key or, on a cluster, under their run's id."""
    found = []
    for name in store.blobs.children("checkpoints"):
        files = store.blobs.entries(f"checkpoints/{name}/")
        if files:
            found.append(_item("checkpoints", name, files, "checkpoint"))
    return found


def _is_over(store: Store, checkpoint: Item, now: datetime) -> bool:
    summary = run_list.summary_of(store, checkpoint.digest)
    ended = summary is not None and summary["verdict"] not in BROKEN_OFF
    done = store.blobs.get(f"keys/{checkpoint.digest}.json") is not None
    return ended or done or (now - checkpoint.written).total_seconds() >= ABANDONED_S


def _needed_artifacts(store: Store, keep_runs: int, champions: list[ChampionRecord]) -> set[str]:
    kept = {*newest_first(store)[:keep_runs], *(one.run_id for one in champions if one.run_id)}
    needed = {digest for run_id in kept for digest in run_list.outputs(store, run_id)}
    latest = [run_list.read(store, key) or {} for key in store.blobs.list("latest/")]
    current = {f"keys/{record.get('key')}.json" for record in latest}
    for key, record in _keys(store):
        if key in current or record["run_id"] in kept:
            needed.update(record["outputs"].values())
    return needed


def _champions(store: Store) -> list[ChampionRecord]:
    found = [read_pointer(store.blobs, name) for name in model_names(store.blobs)]
    return [one[0] for one in found if one is not None]


def clear(store: Store, keep_runs: int) -> list[Item]:
    """Remove what is unneeded, while no run is under way: keys first, then the lists of files, then the files.

    A run that another machine starts meanwhile is not kept out, but what was written lately on S3 stays.
    """
    with no_run(store.root, "graft store gc"):
        for at_work in holders(store):
            raise BadInput(f"a run is under way in {store.uri} ({told(at_work)}). Wait for its end.")
        removed = unneeded(store, keep_runs)
        artifacts = {item.digest for item in removed if item.folder == "artifacts"}
        for key, record in _keys(store):
            if artifacts & set(record["outputs"].values()):
                store.blobs.delete(key)
        for item in removed:
            store.blobs.delete_folder(f"{item.folder}/{item.digest}")
            if item.folder == "artifacts":
                store.shelf.drop(item.digest)
        return removed
