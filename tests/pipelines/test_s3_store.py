"""The store in a bucket: what is fetched is checked, what is damaged is set aside, and copies keep their limit."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from components.interchange.artifact import digest
from components.interchange.errors import BadInput
from pipelines import upkeep
from pipelines.store import DamagedArtifact, Store, open_store
from tests.pipelines.test_store import made


@pytest.fixture
def store(s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return open_store(s3_store)


def published(store: Store, folder: Path, content: str = "one") -> str:
    with store.staging() as staging:
        return store.publish(made(staging / folder.name, content))


@pytest.fixture
def elsewhere(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same store as another machine sees it."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "other cache"))
    return open_store(store.uri)


def test_another_machine_finds_the_artifact_whole(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    name = published(store, tmp_path / "a")
    assert elsewhere.damage(name) == []
    assert digest(elsewhere.artifact(name)) == name
    assert (elsewhere.artifact(name) / "run.json").read_text() == "{}"
    assert elsewhere.root != store.root


def test_a_verdict_too_comes_back_as_a_word(store: Store, elsewhere: Store) -> None:
    with store.staging() as staging:
        (staging / "verdict").write_text("keep")
        name = store.publish(staging / "verdict")
    assert elsewhere.word(name) == "keep"
    assert upkeep.faults(elsewhere) == {}


def test_a_store_can_be_copied_from_a_disk_and_back(store: Store, tmp_path: Path) -> None:
    on_disk, back = open_store(str(tmp_path / "disk")), open_store(str(tmp_path / "back"))
    with on_disk.staging() as staging:
        made(staging / "a")
        (staging / "a" / "sources.parquet").write_bytes(b"")  # Is beside the content, as run.json is.
        name = on_disk.publish(staging / "a")
    for place in (path for path in on_disk.root.rglob("*") if path.is_file()):
        store.blobs.put(place.relative_to(on_disk.root).as_posix(), place.read_bytes())
    assert digest(store.artifact(name)) == name and upkeep.faults(store) == {}

    again = published(store, tmp_path / "b", "two")  # Its list of files knows no times of a disk.
    for key in store.blobs.sizes("artifacts/"):
        back.blobs.put(key, store.blobs.get(key) or b"")
    assert upkeep.faults(back) == {} and back.damage(again) == []
    (back.shelf.folder / again / "card.json").write_text("owt")
    assert "does not have the sha256" in open_store(back.uri).damage(again)[0]


def test_damage_that_only_the_sha256_shows_is_refused_set_aside_and_made_again(
    store: Store, elsewhere: Store, tmp_path: Path
) -> None:
    name = published(store, tmp_path / "a")
    store.blobs.put(f"artifacts/{name}/inner/pixels.bin", b"\0\1\3")
    assert elsewhere.damage(name) == []  # Sizes alone do not tell.
    assert list(upkeep.faults(elsewhere)) == [f"artifacts/{name}"]

    with pytest.raises(DamagedArtifact, match=r"inner/pixels\.bin is damaged"):
        elsewhere.artifact(name)

    assert not (elsewhere.shelf.folder / name).exists()
    assert open_store(store.uri).damage(name) == [f"artifact {name[:12]} is not in the store"]
    assert published(elsewhere, tmp_path / "b") == name
    assert upkeep.faults(elsewhere) == {}


def test_a_list_of_files_that_was_altered_with_them_is_refused(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    """Who may write to a store cannot make it another artifact's digest."""
    name = published(store, tmp_path / "a")
    listed = json.loads(store.blobs.get(f"artifacts/{name}.files.json") or b"")
    store.blobs.put(f"artifacts/{name}/inner/pixels.bin", b"\0\1\3")
    listed["files"]["inner/pixels.bin"]["sha256"] = hashlib.sha256(b"\0\1\3").hexdigest()
    store.blobs.put(f"artifacts/{name}.files.json", json.dumps(listed).encode())
    with pytest.raises(DamagedArtifact, match="holds another artifact"):
        elsewhere.artifact(name)


def test_a_lost_file_is_named_without_fetching_anything(store: Store, elsewhere: Store, tmp_path: Path) -> None:
    name = published(store, tmp_path / "a")
    store.blobs.delete(f"artifacts/{name}/card.json")
    assert elsewhere.damage(name) == [f"artifact {name[:12]} is damaged: card.json is missing"]
    assert not elsewhere.shelf.folder.exists()


def test_copies_keep_their_limit_and_the_store_keeps_everything(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [published(store, tmp_path / content, content * 1000) for content in "abc"]
    for age, name in enumerate(names):
        os.utime(store.shelf.folder / f"{name}.files.json", (1e9 - age, 1e9 - age))
    store.artifact(names[2])  # The oldest, but the last that was of use.
    monkeypatch.setenv("GRAFT_CACHE_GIB", str(2500 / 2**30))

    assert store.make_room() == [names[1]]

    assert [store.shelf.faults(name) for name in names] == [[], None, []]
    assert digest(store.artifact(names[1])) == names[1]
    monkeypatch.setenv("GRAFT_CACHE_GIB", "much")
    with pytest.raises(BadInput, match="GRAFT_CACHE_GIB=much"):
        open_store(store.uri)


def test_clearing_a_bucket_spares_what_was_written_lately(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = published(store, tmp_path / "a")
    assert upkeep.unneeded(store, keep_runs=1) == []
    monkeypatch.setattr(upkeep, "SETTLED_S", 0.0)
    assert [item.digest for item in upkeep.clear(store, keep_runs=1)] == [name]
    assert store.blobs.list("artifacts/") == []
