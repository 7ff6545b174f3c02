"""Ingesting again: files that have not changed are not decoded, and the dataset is the one of a full ingest."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.ingest.kept import Kept, KeptFile
from components.interchange.artifact import SOURCES_FILE
from components.interchange.dataset import Dataset
from tests.ingest.conftest import picture

Run = Callable[..., Dataset]
BAD = ("--max-bad-fraction", "1")


def aged(folder: Path) -> None:
    """As if all files had been written a while ago."""
    long_ago = time.time() - 60
    for file in folder.rglob("*"):
        os.utime(file, (long_ago, long_ago))


def files_read(dataset: Dataset) -> int:
    return int(json.loads((dataset.folder / "run.json").read_text())["files_read"])


def without_table(dataset: Dataset) -> Path:
    """The same dataset, which does not know its sources."""
    copy = Path(shutil.copytree(dataset.folder, dataset.folder.with_name(f"copy of {dataset.folder.name}")))
    (copy / SOURCES_FILE).unlink()
    return copy


@pytest.fixture
def first(animals: Path, ingest: Run) -> Dataset:
    """Ingested once: 60 animals, three broken files, a copy with other bytes, and two files in conflict."""
    (animals / "cat" / "empty.png").touch()
    (animals / "cat" / "text.png").write_text("no picture")
    (animals / "dog" / "cut.png").write_bytes((animals / "dog" / "00.png").read_bytes()[:-40])
    picture(1).save(animals / "cat" / "copy.bmp")
    shutil.copy(animals / "dog" / "05.png", animals / "cat" / "conflict.png")
    aged(animals)
    return ingest(animals, *BAD, to="first")


def changed(animals: Path) -> Iterator[str]:
    """Four new pictures, one with a new content, one gone, one under another label, one broken file mended."""
    for number in range(4):
        picture(9000 + number).save(animals / "dog" / f"new {number}.png")
        yield f"dog/new {number}.png"
    picture(9100).save(animals / "cat" / "07.png")
    yield "cat/07.png"
    picture(9200).save(animals / "cat" / "text.png")
    yield "cat/text.png"
    (animals / "cat" / "08.png").unlink()
    (animals / "cat" / "09.png").rename(animals / "dog" / "moved.png")
    yield "dog/moved.png"


@pytest.mark.parametrize(
    ("before", "now"), [((), ()), ((), ("--encoding", "jpeg")), (("--encoding", "jpeg"), ("--encoding", "jpeg"))]
)
def test_only_new_files_are_read_and_the_dataset_is_that_of_a_full_ingest(
    before: tuple[str, ...], now: tuple[str, ...], first: Dataset, animals: Path, ingest: Run
) -> None:
    if before:
        first = ingest(animals, *BAD, *before, to="jpeg")
    new = list(changed(animals))
    again = ingest(animals, *BAD, *now, "--previous", str(first.folder), to="again")
    full = ingest(animals, *BAD, *now, "--previous", str(without_table(first)), to="full")
    assert (files_read(again), files_read(full)) == (len(new) + 2, 68)  # And both that were in conflict.
    assert again.digest() == full.digest()
    assert {sample.path for sample in again.samples()} >= set(new)
    aged(animals)
    third = ingest(animals, *BAD, *now, "--reuse", str(again.folder), "--previous", str(first.folder), to="third")
    assert third.digest() == again.digest()


def test_what_is_reused_changes_no_split(first: Dataset, animals: Path, ingest: Run) -> None:
    list(changed(animals))
    reused = ingest(animals, *BAD, "--test-fraction", "0.4", "--reuse", str(first.folder), to="reused")
    assert reused.digest() == ingest(animals, *BAD, "--test-fraction", "0.4", to="fresh").digest()
    assert files_read(reused) == 9


def test_a_copy_takes_the_place_of_the_picture_that_went(first: Dataset, animals: Path, ingest: Run) -> None:
    (animals / "cat" / "01.png").unlink()
    (animals / "cat" / "conflict.png").unlink()
    again = ingest(animals, *BAD, "--reuse", str(first.folder), to="again")
    assert again.digest() == ingest(animals, *BAD, to="full").digest()
    assert files_read(again) == 1  # Of the conflict, the pixels were stored nowhere.
    assert {"cat/copy.bmp", "dog/05.png"} <= {sample.path for sample in again.samples()}


def test_files_written_a_moment_ago_are_read_again(animals: Path, ingest: Run) -> None:
    aged(animals / "cat")
    first = ingest(animals, to="first")
    again = ingest(animals, "--reuse", str(first.folder), to="again")
    assert files_read(again) == 30
    assert again.digest() == first.digest()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--stored-size-px", "9"), "it was made otherwise: --stored-size-px changed"),
        (("--interpolation", "lanczos"), "it was made otherwise: --interpolation changed"),
    ],
)
def test_nothing_is_reused_where_pixels_would_differ(
    flags: tuple[str, ...], words: str, first: Dataset, animals: Path, ingest: Run, caplog: pytest.LogCaptureFixture
) -> None:
    again = ingest(animals, *BAD, *flags, "--reuse", str(first.folder), to="again")
    assert words in caplog.text
    assert files_read(again) == 65
    assert again.digest() == ingest(animals, *BAD, *flags, to="full").digest()


def test_other_code_that_decodes_reuses_nothing(
    first: Dataset, animals: Path, ingest: Run, caplog: pytest.LogCaptureFixture
) -> None:
    table = pq.read_table(first.folder / SOURCES_FILE)
    key = b"graft.made_with"
    made = json.loads(table.schema.metadata[key]) | {"the code that decodes": "other"}
    pq.write_table(table.replace_schema_metadata({key: json.dumps(made)}), first.folder / SOURCES_FILE)
    assert files_read(ingest(animals, *BAD, "--reuse", str(first.folder), to="again")) == 65
    assert "made otherwise: the code that decodes changed" in caplog.text


def test_jpegs_never_become_raw_pixels(
    first: Dataset, animals: Path, ingest: Run, caplog: pytest.LogCaptureFixture
) -> None:
    jpeg = ingest(animals, *BAD, "--encoding", "jpeg", to="jpeg")
    again = ingest(animals, *BAD, "--reuse", str(jpeg.folder), to="again")
    assert again.digest() == first.digest()
    assert "it holds JPEGs, and raw pixels may be what is wanted now" in caplog.text


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_damaged_shard_is_found(encoding: str, first: Dataset, animals: Path, ingest: Run, refused) -> None:
    damaged = ingest(animals, *BAD, "--encoding", encoding, to="damaged")
    shard = damaged.folder / "train-00000.arrow"
    data = shard.read_bytes()
    start = data.index(damaged.split("train").images.data(3).tobytes())
    shard.write_bytes(data[: start + 20] + bytes([data[start + 20] ^ 1]) + data[start + 21 :])
    assert "a shard is damaged" in refused(animals, *BAD, "--encoding", encoding, "--reuse", str(damaged.folder))


def test_a_place_without_a_dataset_is_refused(animals: Path, refused, tmp_path: Path) -> None:
    assert "there is no dataset at" in refused(animals, "--reuse", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_files_that_nobody_touched_are_taken_over_whole(
    encoding: str, first: Dataset, animals: Path, ingest: Run
) -> None:
    flags = (*BAD, "--encoding", encoding)
    before = ingest(animals, *flags, to="before")
    touched = before.folder / "train-00000.arrow"
    os.utime(touched, (1, 1))
    again = ingest(animals, *flags, "--reuse", str(before.folder), to="again")
    assert again.digest() == before.digest()
    shards = [name for names in again.manifest.shards.values() for name in names]
    originals = [path.relative_to(again.folder) for path in again.originals().values()]
    own = {str(name) for name in (*shards, *originals) if not (again.folder / name).samefile(before.folder / name)}
    assert len(shards) > 3 and originals and own == {touched.name}


def test_files_are_copied_where_they_cannot_be_linked(
    first: Dataset, animals: Path, ingest: Run, tmp_path: Path
) -> None:
    shards = [name for names in first.manifest.shards.values() for name in names]
    elsewhere = Path("/dev/shm") / f"graft-{os.getpid()}"
    shutil.copytree(first.folder, elsewhere)  # Keeps the files' times.
    try:
        again = ingest(animals, *BAD, "--reuse", str(elsewhere), to="again")
        assert again.digest() == first.digest()
        assert {(again.folder / name).stat().st_nlink for name in shards} == {1}
    finally:
        shutil.rmtree(elsewhere)


def test_a_file_whose_name_is_no_utf8_is_read_each_time(animals: Path, ingest: Run) -> None:
    odd = os.fsencode(animals / "dog") + b"/\xff.png"
    os.rename(animals / "dog" / "03.png", odd)  # noqa: PTH104
    aged(animals)
    first = ingest(animals, to="first")
    again = ingest(animals, "--previous", str(first.folder), to="again")
    assert files_read(again) == 1
    assert again.manifest.digests == first.manifest.digests


def test_no_file_outside_the_earlier_dataset_is_taken_over(tmp_path: Path) -> None:
    """Its table is outside the digest: whoever may write to a store could have any file of ours published."""
    dataset, private = tmp_path / "dataset", tmp_path / "private"
    dataset.mkdir()
    private.write_text("a key")
    (dataset / "link").symlink_to(private)
    (dataset / "own").write_text("a shard")
    files = {}
    for name in ("../private", str(private), "link", "own"):
        found = (dataset / name).stat()
        files[name] = KeptFile(name, found.st_size, found.st_mtime_ns, 1)
    taken = [name for name in files if Kept(dataset, files).take(name, tmp_path / "taken")]
    assert taken == ["own"]
