"""The champion pointer: who is champion, whom a run competes with, and the model it fetches."""

import json
import os
from pathlib import Path

import pytest

from components.interchange.artifact import digest
from components.interchange.blobs import open_blobs
from components.interchange.champion import (
    ChampionRecord,
    EarlierRecord,
    current,
    opponent,
    read_pointer,
    swap_pointer,
)
from components.interchange.errors import BadInput


def record(name: str, replaced: str | None = None) -> EarlierRecord:
    return EarlierRecord(
        digest=name,
        classifier_digest=f"classifier of {name}",
        dataset_digest="dataset",
        replaced=replaced,
        run_id="run 1",
        when="2026-01-01T00:00:00+00:00",
    )


def champions(store: str, *names: str, model_name: str = "model") -> None:
    """Promote one after the other; the last one is champion."""
    blobs = open_blobs(store)
    for name in names:
        found = read_pointer(blobs, model_name)
        before, tag = found or (None, None)
        new = before.successor(record(name, before.digest)) if before else ChampionRecord(**record(name).model_dump())
        assert swap_pointer(blobs, model_name, new, tag)


def published(store: str, tmp_path: Path) -> str:
    """A model folder, published and champion; its digest."""
    folder = tmp_path / "onnx_model"
    folder.mkdir()
    (folder / "card.json").write_text("{}")
    (folder / "model.onnx").write_bytes(b"model" * 1000)
    open_blobs(store).put_folder(f"models/{digest(folder)}", folder)
    champions(store, digest(folder))
    return digest(folder)


def test_no_champion_yet(tmp_path: Path) -> None:
    assert current(str(tmp_path), "model") is None
    assert opponent(str(tmp_path), "model", []) is None
    assert list(tmp_path.iterdir()) == []


def test_the_history_keeps_every_champion(tmp_path: Path) -> None:
    champions(str(tmp_path), "a", "b", "c", "d")
    pointer = json.loads((tmp_path / "champions" / "model.json").read_text())
    assert pointer["digest"] == "d" and pointer["replaced"] == "c"
    assert [(earlier["digest"], earlier["replaced"]) for earlier in pointer["history"]] == [
        ("a", None),
        ("b", "a"),
        ("c", "b"),
    ]
    assert not any("history" in earlier for earlier in pointer["history"])


def test_model_names_have_champions_of_their_own(tmp_path: Path) -> None:
    champions(str(tmp_path), "a", model_name="one.v-1_x")
    assert current(str(tmp_path), "two") is None
    found = current(str(tmp_path), "one.v-1_x")
    assert found is not None and found.digest == "a"


def test_a_champion_is_not_compared_with_itself(tmp_path: Path) -> None:
    store = str(tmp_path)
    champions(store, "a", "b", "c")

    def against(*contenders: str) -> str | None:
        found = opponent(store, "model", [f"classifier of {name}" for name in contenders])
        return found.digest if found else None

    assert against() == against("a") == against("new") == "c"
    assert against("c") == against("c", "a") == "b", "the one it replaced"
    assert against("c", "b") == "a", "both contenders were champions: the one before them"
    assert against("a", "b", "c") is None


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "ä", "a\n"])
def test_a_model_name_is_a_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"--model-name .*expected letters, digits"):
        current(str(tmp_path), name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no champion record"),
        ('{"digest": "a"}', "is no champion record"),
        (
            {"format": "graft.champion/2"},
            "has format graft.champion/2; this Graft reads graft.champion/1. Upgrade Graft",
        ),
        ({"format": "graft.dataset/1"}, "has format graft.dataset/1"),
        ({"format": "champion"}, "is no champion record"),
    ],
)
def test_a_pointer_that_cannot_be_read_is_named(tmp_path: Path, content: object, message: str) -> None:
    champions(str(tmp_path), "a")
    path = tmp_path / "champions" / "model.json"
    path.write_text(content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(BadInput, match=rf"champions/model\.json {message}") as refused:
        current(str(tmp_path), "model")
    assert len(str(refused.value).splitlines()) == 1


def test_a_swap_needs_the_pointer_that_was_read(tmp_path: Path) -> None:
    champions(str(tmp_path), "a")
    blobs = open_blobs(str(tmp_path))
    late = ChampionRecord(**record("late").model_dump())
    assert not swap_pointer(blobs, "model", late, None)
    _, tag = read_pointer(blobs, "model") or (None, None)
    champions(str(tmp_path), "b")
    assert not swap_pointer(blobs, "model", late, tag)
    found = current(str(tmp_path), "model")
    assert found is not None and found.digest == "b"


def test_on_a_disk_the_model_is_used_in_place(tmp_path: Path) -> None:
    model = published(str(tmp_path / "store"), tmp_path)
    champion = current(str(tmp_path / "store"), "model")
    assert champion is not None
    assert champion.fetch() == tmp_path / "store" / "models" / model
    (tmp_path / "store" / "models" / model / "model.onnx").write_bytes(b"cut")
    with pytest.raises(BadInput, match=r"model\.onnx is damaged"):
        champion.fetch()


def test_from_s3_the_model_is_fetched_into_a_cache(s3_store: str, tmp_path: Path) -> None:
    model = published(s3_store, tmp_path)
    champion = current(s3_store, "model")
    assert champion is not None
    folder = champion.fetch(tmp_path / "cache")
    assert folder == tmp_path / "cache" / "models" / model
    assert digest(folder) == model
    assert champion.fetch(tmp_path / "cache") == folder
    (folder / "model.onnx").write_bytes(b"cut")
    with pytest.raises(BadInput, match=r"model\.onnx is damaged"):
        champion.fetch(tmp_path / "cache")


def test_from_s3_no_model_is_fetched_to_where_others_may_alter_it(
    s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody may make a folder, or a link, of the name that ours has among temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = published(s3_store, tmp_path)
    champion = current(s3_store, "model")
    assert champion is not None
    ours = tmp_path / f"graft-{os.getuid()}"
    assert champion.fetch() == ours / "models" / model
    assert ours.stat().st_mode & 0o77 == 0
    ours.rename(tmp_path / "elsewhere")
    ours.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="is no folder of yours"):
        champion.fetch()


def test_a_champion_without_its_model_is_named(tmp_path: Path) -> None:
    champions(str(tmp_path), "a")
    champion = current(str(tmp_path), "model")
    assert champion is not None
    with pytest.raises(BadInput, match="has no models/a, which is champion"):
        champion.fetch()


def test_a_folder_published_under_a_wrong_digest_is_refused(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    published(store, tmp_path)
    open_blobs(store).put_folder("models/other", tmp_path / "onnx_model")
    champions(store, "other")
    champion = current(store, "model")
    assert champion is not None
    with pytest.raises(BadInput, match="has digest"):
        champion.fetch()
