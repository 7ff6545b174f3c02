"""Parquet tables that hold their images: the samples of the same images in folders, and words on what is odd."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest.manifests import Columns
from components.ingest.merge.spec import IngestMerge
from components.ingest.spec import Ingest
from components.ingest.table_rows import BATCH_BYTES
from components.ingest.tables import read_image_table
from components.ingest.trees import FolderTree
from components.interchange.artifact import digest
from components.interchange.cli import main
from components.interchange.dataset import Dataset, open_dataset
from components.interchange.image_files import BrokenImage
from tests.ingest.test_hugging_face import FEATURES, NUMBERS, images, written
from tests.ingest.test_ingest_s3 import uploaded as uploaded
from tests.ingest.test_ingest_shares import named, outputs, run, share
from tests.quarantine import quarantined

ROOT = Path(__file__).parents[2]
COLUMNS = Columns("image", "label", "split", "group")
FEATURES_IMG = {"img": {"_type": "Image"}, "label": FEATURES["label"]}
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def cells(files: list[Path]) -> list[dict[str, Any]]:
    return [{"bytes": file.read_bytes(), "path": file.name} for file in files]


def table(files: list[Path], image: str = "image") -> dict[str, Any]:
    return {image: pa.array(cells(files), STRUCT), "label": [NUMBERS[file.parent.name] for file in files]}


def written_as(path: Path, columns: dict[str, Any], column: str, kind: str) -> Path:
    """A table of one column whose values recur: written once, in a dictionary, or as that of the row before."""
    how: dict[str, Any] = {"use_dictionary": [column], "dictionary_pagesize_limit": 1 << 30}
    if kind == "DELTA_BYTE_ARRAY":
        how = {"use_dictionary": False, "column_encoding": {column: kind}}
    pq.write_table(pa.table(columns), path, **how)
    return path


def facts(dataset: Dataset) -> set[tuple[str, str, str]]:
    return {(sample.id, sample.label, sample.split) for sample in dataset.samples()}


@pytest.fixture
def whole(animals: Path, tmp_path: Path) -> Path:
    return written(tmp_path / "whole.parquet", table(images(animals)), FEATURES)


@pytest.fixture
def shards(animals: Path, tmp_path: Path) -> Path:
    """The hub's layout: a card, and data/ with two shards of train, one of validation and one of test."""
    (tmp_path / "hub" / "data").mkdir(parents=True)
    (tmp_path / "hub" / "README.md").write_text("# A card")
    names = ["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test-00000-of-00001"]
    for number, name in enumerate(names):
        written(tmp_path / "hub" / "data" / f"{name}.parquet", table(images(animals)[number::4], "img"), FEATURES_IMG)
    return tmp_path / "hub"


def test_a_table_has_the_samples_of_its_folder(animals: Path, whole: Path, ingest) -> None:
    folder, dataset = ingest(animals, to="folder"), ingest(whole)
    assert dataset.manifest == folder.manifest
    assert facts(dataset) == facts(folder)
    assert {sample.path for sample in dataset.samples()} == {
        f"whole.parquet/{number:07d}-{file.name}" for number, file in enumerate(images(animals), 1)
    }
    assert set(dataset.originals()) == set(folder.originals())
    assert {path.read_bytes() for path in dataset.originals().values()} == {
        path.read_bytes() for path in folder.originals().values()
    }


@pytest.mark.parametrize(
    ("kind", "group_rows"), [("struct", 1), ("struct", 1000), ("binary", 7), ("large binary", 7), ("no metadata", 7)]
)
def test_row_groups_and_kinds_of_columns_change_nothing(
    animals: Path, ingest, tmp_path: Path, kind: str, group_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.ingest.table_rows.BATCH_BYTES", 3000)
    columns = table(images(animals), "photo" if kind in ("struct", "no metadata") else "image")
    if "binary" in kind:
        of = pa.large_binary() if kind == "large binary" else pa.binary()
        columns["image"] = pa.array([cell["bytes"] for cell in columns["image"].to_pylist()], of)
    features = {"photo": {"_type": "Image"}, "label": FEATURES["label"]}
    if kind == "no metadata":
        columns["label"], features = [file.parent.name for file in images(animals)], {}
    source = written(tmp_path / "a.parquet", columns, features)
    pq.write_table(pq.read_table(source), source, row_group_size=group_rows)
    assert facts(ingest(source)) == facts(ingest(animals, to="folder"))


def test_shards_of_the_hub_have_the_splits_of_their_names(
    animals: Path, shards: Path, ingest, caplog: pytest.LogCaptureFixture
) -> None:
    expected = {
        f"data/{name}.parquet/{row:07d}-{file.name}": (file.parent.name, split)
        for number, (name, split) in enumerate(
            [
                ("train-00000-of-00002", "train"),
                ("train-00001-of-00002", "train"),
                ("validation-00000-of-00001", "val"),
                ("test-00000-of-00001", "test"),
            ]
        )
        for row, file in enumerate(images(animals)[number::4], 1)
    }
    caplog.set_level(logging.INFO, logger="graft")
    dataset = ingest(shards)
    assert sum("its numbers are names" in message for message in caplog.messages) == 1
    assert {sample.path: (sample.label, sample.split) for sample in dataset.samples()} == expected
    assert [entry[:2] for entry in quarantined(dataset)] == [("README.md", "unlabelled")]
    for name in ("validation", "test"):
        (shards / "data" / f"{name}-00000-of-00001.parquet").unlink()
    assert ingest(shards, "--max-bad-fraction", "0.1", to="train alone").manifest.split_policy["by"] == ["content"]


def test_rows_without_bytes_are_read_by_path_or_quarantined(animals: Path, ingest) -> None:
    columns = table(images(animals))
    inside = columns["image"].to_pylist()
    inside[0] = {"bytes": None, "path": "cat/00.png"}
    inside[1] = {"bytes": None, "path": None}
    inside[2] = None
    inside[3] = {"bytes": b"", "path": "x.png"}
    inside[4] = {"bytes": b"<html>", "path": None}
    inside[5] = {"bytes": None, "path": "cat/gone.png"}
    columns["image"] = pa.array(inside, STRUCT)
    columns["label"][6] = -1
    columns["group"] = [f"herd {number // 2}" for number in range(60)]
    dataset = ingest(written(animals / "a.parquet", columns, FEATURES), "--max-bad-fraction", "0.2")
    found = {entry.path: entry.reason for entry in quarantined(dataset)}
    assert found == {
        "a.parquet/0000002": "empty",
        "a.parquet/0000003": "empty",
        "a.parquet/0000004-x.png": "empty",
        "a.parquet/0000005": "not an image",
        "cat/gone.png": "missing",
        "a.parquet/0000007-06.png": "wrong label",
    }
    samples = {sample.path: sample for sample in dataset.samples()}
    assert samples["cat/00.png"].group == "herd 0"
    assert len(samples) + len(found) == 60


def test_shares_are_joined_and_what_is_known_is_not_read_again(
    shards: Path, ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.ingest.files.JUST_NOW_S", 0)
    undivided = ingest(shards)
    shares = [share(shards, tmp_path / f"share {number}", f"{number}/2") for number in (1, 2)]
    assert run(IngestMerge, shards, *named(shares), *outputs(tmp_path / "merged")) == 0
    assert digest(tmp_path / "merged") == undivided.digest()
    again = ingest(shards, "--previous", str(undivided.folder), to="again")
    assert again.digest() == undivided.digest()
    assert json.loads((again.folder / "run.json").read_text())["files_read"] == 0


def test_on_s3_as_on_a_disk(shards: Path, whole: Path, ingest, uploaded, tmp_path: Path) -> None:
    uri = uploaded(tmp_path / "hub")
    assert ingest(uri, to="s3").digest() == ingest(shards, to="disk").digest()
    single = "data/train-00000-of-00002.parquet"
    alone = ingest(f"{uri}/{single}", "--reuse", str(tmp_path / "s3"), to="s3 table")
    assert alone.digest() == ingest(shards / single, to="disk table").digest()
    assert json.loads((alone.folder / "run.json").read_text())["files_read"] == 0


def test_several_columns_of_images_are_named(animals: Path, refused, ingest, tmp_path: Path) -> None:
    columns = table(images(animals), "left")
    columns["right"] = columns["left"]
    features = FEATURES | {"left": {"_type": "Image"}, "right": {"_type": "Image"}}
    source = written(tmp_path / "a.parquet", columns, features)
    assert "it has 2 columns of images (left, right): name one with --image-column" in refused(source)
    assert len(ingest(source, "--image-column", "right").samples()) == 60
    twice = pa.Table.from_arrays([pa.array(cells(images(animals)), STRUCT)] * 2, ["image", "image"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    assert "(it has several columns named 'image')" in refused(tmp_path / "twice.parquet")
    columns["label"] = [file.parent.name for file in images(animals)]
    assert "it has 2 columns of images (left, right)" in refused(written(source, columns, {}))


def test_tables_without_images_or_labels_are_refused(animals: Path, shards: Path, whole: Path, refused) -> None:
    assert "whole.parquet has no column 'kind'. Its columns: label" in refused(whole, "--label-column", "kind")
    assert "whole.parquet has no column 'picture'." in refused(whole, "--image-column", "picture")
    odd = shards / "data" / "test-00000-of-00001.parquet"
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), odd)
    assert "1 of 4 tables of" in (message := refused(shards))
    assert "have no column of images: data/test-00000-of-00001.parquet. Expected the images themselves" in message


def test_classes_and_splits_of_shards_must_agree(animals: Path, shards: Path, refused) -> None:
    test = shards / "data" / "test-00000-of-00001.parquet"
    other = FEATURES_IMG | {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    written(test, table(images(animals)[3::4], "img"), other)
    message = refused(shards)
    assert message.startswith("the tables disagree on the class names of column 'label': ")
    for found in (
        "cat, dog in data/test-00000-of-00001.parquet",
        "dog, cat in data/train-00000-of-00002.parquet, data/train-00001",
    ):
        assert found in message
    test.unlink()
    (shards / "data" / "validation-00000-of-00001.parquet").rename(shards / "data" / "extra.parquet")
    assert "1 of 3 tables of" in (message := refused(shards))
    assert "have no split in their names: data/extra.parquet. Expected train, training, val" in message
    for train in (shards / "data").glob("train-*"):
        train.unlink()
    (shards / "data" / "extra.parquet").rename(shards / "data" / "validation.parquet")
    written(test, table(images(animals)[3::4], "img"), FEATURES_IMG)
    assert "by their names (test, val), are splits, and there is none for train: expected train, and" in refused(shards)


def test_a_table_that_is_cut_is_refused_and_one_that_is_damaged_inside_loses_its_rows(
    animals: Path, shards: Path, ingest, refused
) -> None:
    source = shards / "data" / "train-00000-of-00002.parquet"
    pq.write_table(pq.read_table(source), source, row_group_size=5, compression="none", write_page_checksum=True)
    data = source.read_bytes()
    source.write_bytes(data[:-100])
    assert "1 of 4 tables of" in (message := refused(shards))
    assert "train-00000-of-00002.parquet cannot be read as a manifest or a table of images (" in message
    middle = data.index(images(animals)[4 * 7].read_bytes()) + 30
    source.write_bytes(data[:middle] + b"????" + data[middle + 4 :])
    dataset = ingest(shards, "--max-bad-fraction", "0.2")
    found = [(entry.path.split("/")[-1][:7], entry.reason) for entry in quarantined(dataset)][1:]
    assert found == [(f"{row:07d}", "unreadable") for row in range(6, 11)]
    assert "is damaged from row 6 on (" in quarantined(dataset)[1].detail
    assert len(dataset.samples()) == 55


def test_every_cut_and_flipped_byte_is_refused_or_in_the_ledger(whole: Path, refused, tmp_path: Path) -> None:
    data = whole.read_bytes()
    for number, place in enumerate(range(0, len(data), len(data) // 12)):
        whole.write_bytes(data[:place])
        assert "cannot be read as a manifest" in refused(whole)
        whole.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        folder = tmp_path / f"flipped {number}"
        places = [f"--source={whole}", f"--dataset={folder / 'dataset'}", f"--report={folder / 'report'}"]
        code = main(Ingest, [*places, "--stored-size-px=8", "--max-bad-fraction=1"])
        assert code in (0, 2)
        if code == 0:
            dataset = open_dataset(folder / "dataset")
            assert len(dataset.samples()) + len(quarantined(dataset)) == 60


def test_a_table_of_images_in_an_archive_is_refused_in_words(
    whole: Path, shards: Path, refused, tmp_path: Path
) -> None:
    for folder in (whole.parent / "alone", shards):
        folder.mkdir(exist_ok=True)
    whole.rename(tmp_path / "alone" / whole.name)
    alone, hub = (Path(shutil.make_archive(str(tmp_path / f"{n} z"), "zip", tmp_path / n)) for n in ("alone", "hub"))
    for source in (alone / whole.name, alone, hub):
        assert "holds the images themselves, and the table lies in an archive: unpack it." in refused(source)


def test_a_table_that_changes_while_it_is_read_is_told(whole: Path, tmp_path: Path) -> None:
    listing = read_image_table(FolderTree(tmp_path), whole.name, COLUMNS, tmp_path)
    assert listing is not None
    whole.write_bytes(whole.read_bytes() + b"more")
    with pytest.raises(BrokenImage, match="it changed while it was read"):
        listing.images[0].file.read()


def test_a_large_row_group_is_never_in_memory(tmp_path: Path) -> None:
    """In a process of its own: 100 rows of 1 MB in one row group, read one after the other within 75 MB."""
    script = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from components.ingest.manifests import Columns
from components.ingest.spec import Ingest
from components.ingest.table_rows import BATCH_BYTES
from components.ingest.tables import read_image_table
from components.ingest.table_rows import in_turn
from components.ingest.trees import FolderTree
place = Path(sys.argv[1])
image = np.random.default_rng(0).bytes(1_000_000)
part = pa.table({"image": [image + b"%d" % n for n in range(100)], "label": ["a", "b"] * 50})
pq.write_table(part, place / "a.parquet", row_group_size=100, compression="none", write_batch_size=4)
del part
pa.default_memory_pool().release_unused()
def held(): return int(open("/proc/self/statm").read().split()[1]) * 4096
before = held()
listing = read_image_table(FolderTree(place), "a.parquet", Columns("image", "label", "split", "group"), place)
most = 0
for image, file in in_turn(listing.images):
    assert len(file.read()) > 1_000_000
    most = max(most, held() - before)
print(len(listing.images), most)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    rows, most = map(int, done.stdout.split())
    assert rows == 100
    assert most < 75_000_000, most


@pytest.mark.parametrize("kind", ["PLAIN_DICTIONARY", "DELTA_BYTE_ARRAY"])
@pytest.mark.parametrize("column", ["label", "note"])
def test_a_small_file_that_grows_beyond_bounds_is_refused(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, column: str
) -> None:
    monkeypatch.setattr("components.ingest.parquet_cells.FREE_BYTES", 1 << 20)
    of_rows = {"image": ["a.png"] * 500, "label": ["a", "b"] * 250} | {column: ["x" * 7000] * 500}
    source = written_as(tmp_path / "a.parquet", of_rows, column, kind)
    assert source.stat().st_size < 20_000
    assert "(its cells take more than 1,048,576 bytes, 50 times its file's size or 1 MiB: leave out" in refused(source)
    of_rows["image"] = pa.array([{"bytes": b"x", "path": "a.png"}] * 500, STRUCT)
    assert "its cells take more than" in refused(written_as(source, of_rows, column, kind))


@pytest.mark.parametrize("kind", ["PLAIN_DICTIONARY", "DELTA_BYTE_ARRAY"])
def test_an_image_that_the_file_has_once_is_in_memory_a_few_times(tmp_path: Path, kind: str) -> None:
    of_rows = {"image": pa.array([{"bytes": b"x" * 900_000, "path": ""}] * 30, STRUCT), "label": ["a", "b"] * 15}
    written_as(tmp_path / "a.parquet", of_rows, "image.bytes", kind)
    listing = read_image_table(FolderTree(tmp_path), "a.parquet", COLUMNS, tmp_path)
    assert listing is not None and len(listing.images) == 30
    batches = list(listing.images[0].file.table.batches(0))  # type: ignore[attr-defined]
    assert sum(map(len, batches)) == 30
    assert max(batch.nbytes for batch in batches) < 1.1 * BATCH_BYTES


def test_lists_are_left_alone_unless_they_are_asked_for(animals: Path, ingest, refused) -> None:
    files = images(animals)
    of_rows = {"image": [file.relative_to(animals).as_posix() for file in files], "label": ["a", "b"] * 30}
    source = written(animals / "a.parquet", of_rows | {"boxes": [[1, 2]] * 60}, {})
    assert len(ingest(source).samples()) == 60
    assert "(column 'boxes' holds lists: expected text or whole numbers)" in refused(source, "--label-column", "boxes")
