"""What can be asked of a champion by its name, and taking it back."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.interchange.artifact import digest
from components.interchange.blobs import Blobs
from components.interchange.champion import (
    Champion,
    ChampionRecord,
    EarlierRecord,
    current,
    model_names,
    model_prefix,
    read_pointer,
    swap_pointer,
)
from components.interchange.errors import BadInput, near
from pipelines.store import existing_store


def model_folder(model: str, store: str) -> Path:
    """The folder of an onnx_model artifact: the one given, or the champion of `champion:NAME` in a store."""
    if "://" in model or model in ("", "champion:"):
        raise BadInput(
            f"--model {model}: expected a folder on a disk, or champion:NAME with the --store that it is in."
        )
    if not model.startswith("champion:"):
        return Path(model)
    name = model.removeprefix("champion:")
    champion = current(existing_store(store).uri, name)
    if champion is None:
        raise BadInput(f"--model {model}: nothing was ever promoted under the name {name!r} in the store {store}.")
    return champion.fetch()


def records(store: str, model_name: str) -> list[EarlierRecord]:
    """The champion and everything that was before it, newest first. BadInput where nothing was ever promoted."""
    record, _ = _pointer(existing_store(store).blobs, model_name)
    return [record, *reversed(record.history)]


def rollback(store: str, model_name: str) -> ChampionRecord:
    """Put the champion before this one back into service, if the pointer is still the one that was read.

    The history keeps what was taken out and gains that it was a rollback. BadInput where there is nothing to return
    to, where that model is damaged, or where the champion changed meanwhile; the pointer is unchanged then.
    """
    blobs = existing_store(store).blobs
    record, tag = _pointer(blobs, model_name)
    earlier = record.before()
    if earlier is None:
        raise BadInput(
            f"{model_name}: no champion before {record.digest[:12]} that was not rolled back itself; "
            "the pointer was not changed."
        )
    Champion(blobs, earlier).fetch()  # Refuses what is damaged.
    when = datetime.now(UTC).isoformat(timespec="seconds")
    returned = record.successor(
        earlier.model_copy(update={"when": when, "replaced": record.digest, "rolled_back": record.digest})
    )
    if not swap_pointer(blobs, model_name, returned, tag):
        now, _ = _pointer(blobs, model_name)
        raise BadInput(
            f"{model_name}: the champion changed meanwhile: it was {record.digest[:12]}, now it is {now.digest[:12]}; "
            "the pointer was not changed. Look at it with graft champion show."
        )
    return returned


def pull(store: str, model_name: str, to: Path) -> EarlierRecord:
    """Copy the champion's onnx_model artifact to a folder that is new or empty, checked, whole or not at all."""
    blobs = existing_store(store).blobs
    record, _ = _pointer(blobs, model_name)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"--to {to} is there already. Expected a folder that is new or empty.")
    try:
        to.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--to {to}: its folder cannot be made ({error.strerror}: {error.filename}).") from None
    blobs.fetch_folder(model_prefix(record.digest), to.absolute())
    found = digest(to)
    if found != record.digest:
        shutil.rmtree(to)
        raise BadInput(f"{blobs.uri}/{model_prefix(record.digest)} has digest {found}. Publish it again.")
    return record


def described(record: EarlierRecord) -> dict[str, Any]:
    """A record as plain figures: how it came into service, and its test top-1 and latency then."""
    top1 = next((row.value for row in record.top1 if row.name == "top1"), None)
    p99_ms = next((row.value for row in record.latency if row.name == "p99_ms"), None)
    return {
        "digest": record.digest,
        "when": record.when,
        "by": "promotion" if record.rolled_back is None else "rollback",
        "replaced": record.replaced,
        "run_id": record.run_id,
        "test_top1": top1,
        "p99_ms": p99_ms,
        "classifier_digest": record.classifier_digest,
        "dataset_digest": record.dataset_digest,
    }


def _pointer(blobs: Blobs, model_name: str) -> tuple[ChampionRecord, str]:
    found = read_pointer(blobs, model_name)
    if found is None:
        names = model_names(blobs)
        known = f"{near(model_name, names)} Champions: {', '.join(names)}." if names else " It has no champion at all."
        raise BadInput(f"nothing was ever promoted under the name {model_name!r} in the store {blobs.uri}.{known}")
    return found[0], found[1]
