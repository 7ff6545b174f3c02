"""Blobs on a disk and on a real S3 server: the same promises kept by both."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.interchange.artifact import digest
from components.interchange.blobs import Blobs, open_blobs
from components.interchange.errors import BadInput

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["disk", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "disk":
        return open_blobs(str(tmp_path / "store"))
    return open_blobs(request.getfixturevalue("s3_store"))


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    (folder / "lineage").mkdir(parents=True)
    (folder / "card.json").write_text("{}")
    (folder / "model.onnx").write_bytes(bytes(range(256)) * 40)
    (folder / "lineage" / "ünï cödé.txt").write_text("images")
    (folder / "empty").write_bytes(b"")
    (folder / "run.json").write_text('{"seconds": 1}')
    return folder


def test_bytes_come_back_as_they_were_put(blobs: Blobs) -> None:
    assert blobs.get("a/b.json") is None
    assert blobs.get_with_tag("a/b.json") is None
    assert blobs.list() == []
    blobs.put("a/b.json", b"one")
    blobs.put("a/b.json", b"two")
    assert blobs.get("a/b.json") == b"two"


def test_keys_are_listed_by_the_start_of_their_name(blobs: Blobs) -> None:
    for key in ("runs/2/x", "runs/1/x", "runs/1/y", "run", "models/ä b"):
        blobs.put(key, b"1")
    assert blobs.list("runs/1/") == ["runs/1/x", "runs/1/y"]
    assert blobs.list("run") == ["run", "runs/1/x", "runs/1/y", "runs/2/x"]
    assert blobs.list() == ["models/ä b", "run", "runs/1/x", "runs/1/y", "runs/2/x"]
    assert blobs.list("none/") == []


def test_files_go_in_and_come_out(blobs: Blobs, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(1 << 20))
    blobs.put_file("big/file", source)
    assert blobs.get_file("big/file", target)
    assert target.read_bytes() == source.read_bytes()
    assert not blobs.get_file("big/none", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_swap_needs_the_tag_of_what_is_there(blobs: Blobs) -> None:
    assert not blobs.compare_and_swap("p.json", b"1", "0" * 64)
    assert blobs.compare_and_swap("p.json", b"1", None)
    assert not blobs.compare_and_swap("p.json", b"2", None)
    data, tag = blobs.get_with_tag("p.json") or (b"", "")
    assert data == b"1"
    assert blobs.compare_and_swap("p.json", b"2", tag)
    assert not blobs.compare_and_swap("p.json", b"3", tag)
    assert blobs.get("p.json") == b"2"
    assert blobs.list() == ["p.json"]


def test_on_a_disk_the_tag_is_the_sha256(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path))
    blobs.put("key", b"bytes")
    assert blobs.get_with_tag("key") == (b"bytes", hashlib.sha256(b"bytes").hexdigest())


def test_of_eight_swaps_at_once_one_wins(blobs: Blobs) -> None:
    blobs.compare_and_swap("other", b"", None)  # Whatever a first swap needs to do is done.
    tag = None
    for turn in range(2):
        start, won = threading.Barrier(8), []

        def swap(number: int, tag: str | None = tag, start: threading.Barrier = start, won: list[int] = won) -> None:
            start.wait(20)
            if blobs.compare_and_swap("p", f"{number}".encode(), tag):
                won.append(number)

        threads = [threading.Thread(target=swap, args=(8 * turn + number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(won) == 1
        data, tag = blobs.get_with_tag("p") or (b"", None)
        assert data == f"{won[0]}".encode()


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", ".lock", "a/./b", "a\0"])
def test_keys_stay_inside_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(BadInput, match="is no key: expected a relative path"):
        open_blobs(str(tmp_path)).put(key, b"1")


def test_a_folder_comes_back_whole(blobs: Blobs, artifact: Path, tmp_path: Path) -> None:
    assert blobs.put_folder("models/m", artifact)
    manifest = blobs.fetch_folder("models/m", tmp_path / "deep" / "fetched")
    assert manifest.digest == digest(artifact) == digest(tmp_path / "deep" / "fetched")
    assert (tmp_path / "deep" / "fetched" / "run.json").read_text() == '{"seconds": 1}'
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["fetched"]
    assert manifest.files["model.onnx"].size_bytes == 10240


def test_a_stored_folder_is_not_put_again_and_never_changed(blobs: Blobs, artifact: Path) -> None:
    blobs.put_folder("models/m", artifact)
    before = blobs.get_with_tag("models/m.files.json")
    (artifact / "run.json").write_text('{"seconds": 2}')
    assert not blobs.put_folder("models/m", artifact)
    assert blobs.get("models/m/run.json") == b'{"seconds": 1}'
    (artifact / "card.json").write_text('{"other": 1}')
    with pytest.raises(BadInput, match="is immutable"):
        blobs.put_folder("models/m", artifact)
    assert blobs.get("models/m/card.json") == b"{}"
    assert blobs.get_with_tag("models/m.files.json") == before


def test_damaged_files_are_named(blobs: Blobs, artifact: Path, tmp_path: Path) -> None:
    blobs.put_folder("models/m", artifact)
    blobs.put("models/m/model.onnx", bytes(10240))
    blobs.put("models/m/card.json", b"[]")
    with pytest.raises(BadInput, match=r"card\.json is damaged .*, model\.onnx is damaged \(sha256 .*, expected"):
        blobs.fetch_folder("models/m", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    assert list(tmp_path.glob(".fetched*")) == []


def test_a_fetched_folder_is_checked_and_not_fetched_again(blobs: Blobs, artifact: Path, tmp_path: Path) -> None:
    blobs.put_folder("models/m", artifact)
    blobs.fetch_folder("models/m", tmp_path / "fetched")
    inode = (tmp_path / "fetched" / "model.onnx").stat().st_ino
    blobs.fetch_folder("models/m", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "model.onnx").stat().st_ino == inode
    (tmp_path / "fetched" / "empty").unlink()
    (tmp_path / "fetched" / "more").write_text("")
    with pytest.raises(BadInput, match="fetched: empty is missing, more does not belong there"):
        blobs.fetch_folder("models/m", tmp_path / "fetched")


def test_a_manifest_cannot_name_files_outside(blobs: Blobs, tmp_path: Path) -> None:
    evil = '{"digest": "d", "files": {"../../out/evil": {"sha256": "x", "size_bytes": 1}}}'
    blobs.put("models/m.files.json", evil.encode())
    with pytest.raises(BadInput, match="is no key"):
        blobs.fetch_folder("models/m", tmp_path / "deep" / "fetched")
    assert not (tmp_path / "out").exists()
    blobs.put("models/m.files.json", b"{")
    with pytest.raises(BadInput, match=r"m\.files\.json is damaged"):
        blobs.fetch_folder("models/m", tmp_path / "fetched")


def test_a_folder_that_is_not_there_is_named(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no models/m: expected models/m\.files\.json"):
        blobs.fetch_folder("models/m", tmp_path / "fetched")
    with pytest.raises(BadInput, match="is no folder with files"):
        blobs.put_folder("models/m", tmp_path / "nothing")


def test_files_that_got_lost_are_put_again(tmp_path: Path, artifact: Path) -> None:
    blobs = open_blobs(str(tmp_path / "store"))
    blobs.put_folder("models/m", artifact)
    (tmp_path / "store" / "models" / "m" / "model.onnx").write_bytes(b"cut off")
    assert blobs.put_folder("models/m", artifact)
    assert blobs.fetch_folder("models/m", tmp_path / "fetched").digest == digest(artifact)


def killed(store: Path, call: str) -> None:
    """Run `call` on a store in a process that the kernel kills while it writes byte 65,537 of a file."""
    code = (
        "import resource, signal; from pathlib import Path; from components.interchange.blobs import open_blobs\n"
        f"resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        f"signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nopen_blobs({str(store)!r}).{call}"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert done.returncode == -signal.SIGXFSZ, done.stderr


def test_a_killed_put_leaves_nothing_visible(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path / "store"))
    killed(tmp_path / "store", "put('new', bytes(200_000))")
    assert blobs.list() == [] and blobs.get("new") is None
    blobs.put("old", b"old")
    killed(tmp_path / "store", f"compare_and_swap('old', bytes(200_000), {hashlib.sha256(b'old').hexdigest()!r})")
    assert blobs.get("old") == b"old"
    assert blobs.compare_and_swap("old", b"new", hashlib.sha256(b"old").hexdigest()), "the lock died with its process"


def test_a_killed_put_of_a_folder_leaves_no_folder(tmp_path: Path, artifact: Path) -> None:
    (artifact / "model.onnx").write_bytes(bytes(200_000))
    killed(tmp_path / "store", f"put_folder('models/m', Path({str(artifact)!r}))")
    blobs = open_blobs(str(tmp_path / "store"))
    assert "models/m/card.json" in blobs.list("models/m/"), "some files were there already"
    assert blobs.folder_manifest("models/m") is None
    with pytest.raises(BadInput, match="has no models/m"):
        blobs.fetch_folder("models/m", tmp_path / "fetched")
    assert blobs.put_folder("models/m", artifact)
    assert blobs.fetch_folder("models/m", tmp_path / "fetched").digest == digest(artifact)


@pytest.mark.parametrize("uri", ["", "gs://bucket/x", "s3://", "s3:///x", "s3:bucket", "file://host/x", "file:x"])
def test_unknown_places_are_refused(uri: str) -> None:
    with pytest.raises(BadInput, match=r"expected a folder, file:///FOLDER or s3://BUCKET/PREFIX"):
        open_blobs(uri)


def test_a_folder_has_two_spellings(tmp_path: Path) -> None:
    open_blobs(f"file://{tmp_path}/with%20space").put("key", b"1")
    assert open_blobs(str(tmp_path / "with space")).get("key") == b"1"


def test_a_disk_that_refuses_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BadInput, match="refuses key: "):
        open_blobs(str(tmp_path / "file")).put("key", b"1")
    store = open_blobs(str(tmp_path / "store"))
    store.put("a/b", b"1")
    with pytest.raises(BadInput, match="refuses a: "):
        store.put("a", b"1")
