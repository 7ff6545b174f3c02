"""The store: artifacts appear whole or not at all, are found by content, and are refused when damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.interchange.artifact import digest
from components.interchange.errors import BadInput
from pipelines.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def made(folder: Path, content: str = "one") -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "card.json").write_text(content)
    (folder / "inner" / "pixels.bin").write_bytes(b"\0\1\2")
    (folder / "run.json").write_text("{}")
    return folder


def test_an_artifact_is_found_under_its_digest(store: Store, tmp_path: Path) -> None:
    expected = digest(made(tmp_path / "a"))

    name = store.publish(tmp_path / "a")

    assert name == expected == digest(store.artifact(name))
    assert open_store(store.uri).damage(name) == []
    assert not (tmp_path / "a").exists()


def test_equal_content_is_kept_once_with_its_first_run_record(store: Store, tmp_path: Path) -> None:
    name = store.publish(made(tmp_path / "a"))
    (made(tmp_path / "b") / "run.json").write_text('{"later": 1}')

    assert store.publish(tmp_path / "b") == name
    assert (store.artifact(name) / "run.json").read_text() == "{}"
    assert len(list((store.root / "artifacts").iterdir())) == 2  # The folder and its manifest.


def test_a_verdict_is_a_file_and_reads_as_a_word(store: Store, tmp_path: Path) -> None:
    (tmp_path / "verdict").write_text("keep\n")

    name = store.publish(tmp_path / "verdict")

    assert name == digest(store.artifact(name))
    assert store.word(name) == "keep"


def flip(path: Path) -> None:
    path.write_bytes(b"\0\1\3")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip, "pixels.bin does not have the sha256"),
        (lambda path: path.write_bytes(b"\0"), "pixels.bin has 1 bytes, expected 3"),
        (lambda path: path.unlink(), "pixels.bin is missing"),
        (lambda path: (path.parent / "stray").write_text(""), "inner/stray does not belong there"),
    ],
)
def test_damage_is_named_and_mended_by_publishing_again(store: Store, tmp_path: Path, harm, words: str) -> None:  # type: ignore[no-untyped-def]
    name = store.publish(made(tmp_path / "a"))
    harm(store.artifact(name) / "inner" / "pixels.bin")
    again = open_store(store.uri)

    assert [words in fault for fault in again.damage(name)] == [True]
    assert again.publish(made(tmp_path / "b")) == name
    assert open_store(store.uri).damage(name) == []


def test_a_file_that_was_only_touched_is_whole(store: Store, tmp_path: Path) -> None:
    name = store.publish(made(tmp_path / "a"))
    os.utime(store.artifact(name) / "card.json", ns=(1, 1))
    assert open_store(store.uri).damage(name) == []


def test_what_lacks_its_manifest_was_never_published(store: Store, tmp_path: Path) -> None:
    name = store.publish(made(tmp_path / "a"))
    (store.root / "artifacts" / f"{name}.files.json").unlink()
    again = open_store(store.uri)

    assert again.damage(name) == [f"artifact {name[:12]} is not in the store"]
    assert again.publish(made(tmp_path / "b")) == name


def test_a_damaged_record_counts_as_none(store: Store) -> None:
    store.put_record("keys/abc.json", {"outputs": {"report": "1"}})
    path = store.root / "keys" / "abc.json"
    assert store.outputs_of("abc") == {"report": "1"}
    store.put_record("latest/m/gate.json", {"key": "abc"})
    for damaged in (path.read_text()[:10], "[]", '"x"', "{}", '{"outputs": 1, "parts": []}'):
        path.write_text(damaged)
        assert store.outputs_of("abc") is None and store.parts_of_latest("m", "gate") is None
    for damaged in ("[]", "{}", '{"key": 1}'):
        (store.root / "latest/m/gate.json").write_text(damaged)
        assert store.parts_of_latest("m", "gate") is None


def test_staging_is_gone_after_a_failure_and_after_a_killed_process(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.staging() as staging:
        (staging / "half").mkdir()
        raise ZeroDivisionError
    code = f"from pipelines.store import open_store; import os\nwith open_store({store.uri!r}).staging(): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 9
    assert len(list((store.root / "tmp").iterdir())) == 1

    with store.staging() as staging:
        assert list((store.root / "tmp").iterdir()) == [staging]


@pytest.mark.parametrize(
    ("uri", "words"),
    [("gs://bucket", "expected a folder"), (__file__, "is a file")],
)
def test_a_place_that_is_no_folder_is_refused(uri: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        open_store(uri)


def test_a_file_uri_is_the_folder_it_names(tmp_path: Path) -> None:
    assert open_store(f"file://{tmp_path}/s%20t").root == (tmp_path / "s t").resolve()
