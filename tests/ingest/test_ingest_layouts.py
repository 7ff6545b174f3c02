"""Layouts: JSON lines, metadata files of Hugging Face's imagefolder, folders of splits."""

import json
import shutil
from pathlib import Path
from time import process_time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.ingest.files import MISSING
from components.ingest.trees import Entry, FolderTree, ListedTree
from components.interchange.dataset import Dataset
from tests.quarantine import quarantined

SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}


def rows(animals: Path) -> list[tuple[str, str]]:
    files = sorted(animals.rglob("*.png"))
    return [(file.relative_to(animals).as_posix(), file.parent.name) for file in files]


def json_lines(path: Path, table: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table), encoding="utf-8")
    return path


def sides(dataset: Dataset) -> dict[str, tuple[str, str]]:
    return {sample.path: (sample.label, sample.split) for sample in dataset.samples()}


def test_json_lines_name_the_same_images_as_the_folder(animals: Path, ingest) -> None:
    folder = ingest(animals, to="folder")
    source = json_lines(animals / "all.jsonl", [{"label": label, "image": path} for path, label in rows(animals)])
    source.write_text("\ufeff\n" + source.read_text().replace("\n", "\r\n"), encoding="utf-8")
    assert ingest(source, to="jsonl").digest() == folder.digest()


def test_json_lines_give_labels_splits_and_groups(animals: Path, ingest) -> None:
    names = ["train", "val", "test"]
    table: list[dict[str, object]] = [
        {"image": path, "label": 7 if label == "cat" else " a\u2028b ", "split": names[n % 3], "group": n % 3, "x": [n]}
        for n, (path, label) in enumerate(rows(animals))
    ]
    del table[0]["split"], table[0]["group"]
    table[1]["group"] = None
    samples = ingest(json_lines(animals / "all.jsonl", table)).samples()
    assert {sample.label for sample in samples} == {"7", "a\u2028b"}
    assert {
        (sample.split, sample.group) for sample in samples if sample.path not in rows(animals)[1] + rows(animals)[0]
    } == {
        ("train", "0"),
        ("val", "1"),
        ("test", "2"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are no images in"),
        ('{"image": "a", "lable": "x"}', "all.jsonl has no column 'label'. Close: lable."),
        ('{"image": "a", "label": "x"}\n{"label": "b"}', "1 rows of all.jsonl have nothing in column 'image': rows 2."),
        ('{"image": "a", "label": "x"}\n{"image": ', "cannot be read as a manifest (line 2 is no JSON"),
        ('["a", "x"]', "cannot be read as a manifest (line 1 is no JSON object)"),
        ("[" * 100_000, "cannot be read as a manifest (line 1 is no JSON"),
        ('{"image": "a", "label": 0.5}', "column 'label' holds 0.5: expected text or a whole number"),
        ('{"image": "a", "label": "\\ud800"}', "cannot be read as a manifest ("),
        ('{"image": "a", "label": "x", "split": "extra"}', "column 'split' of all.jsonl holds 'extra'"),
    ],
)
def test_wrong_json_lines_are_refused_in_words(animals: Path, refused, text: str, message: str) -> None:
    (animals / "all.jsonl").write_text(text)
    assert message in refused(animals / "all.jsonl")


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_a_metadata_file_labels_the_images_of_its_folder(animals: Path, ingest, name: str) -> None:
    folder = ingest(animals, to="folder")
    table = [{"file_name": path, "label": label, "caption": "a, b"} for path, label in rows(animals)]
    if name.endswith(".csv"):
        text = "".join(f'{row["file_name"]},{row["label"]},"a, b"\n' for row in table)
        (animals / name).write_text(f"file_name,label,caption\n{text}")
    elif name.endswith(".jsonl"):
        json_lines(animals / name, [dict(row) for row in table])
    else:
        pq.write_table(pa.Table.from_pylist(table), animals / name)
    found = ingest(animals, to="hf")
    assert found.manifest == folder.manifest
    assert [sample._replace(attributes=None) for sample in found.samples()] == folder.samples()


def test_a_metadata_file_may_have_columns_of_its_own_names(animals: Path, ingest) -> None:
    json_lines(
        animals / "metadata.jsonl", [{"file": path, "kind": "cd"[n % 2]} for n, (path, _) in enumerate(rows(animals))]
    )
    assert ingest(animals, "--image-column", "file", "--label-column", "kind").classes == ["c", "d"]


@pytest.fixture
def in_splits(animals: Path, tmp_path: Path) -> Path:
    """The animals in train, validation and test, with a subfolder a class in each."""
    for number, (path, label) in enumerate(rows(animals)):
        place = tmp_path / "splits" / list(SPLIT_NAMES.values())[number % 3] / label
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(animals / path, place)
    return tmp_path / "splits"


def test_folders_of_splits_give_the_splits(in_splits: Path, ingest) -> None:
    dataset = ingest(in_splits)
    assert dataset.manifest.split_policy["by"] == ["source"]
    assert sides(dataset) == {
        f"{folder}/{label}/{file.name}": (label, split)
        for split, folder in SPLIT_NAMES.items()
        for label in ("cat", "dog")
        for file in (in_splits / folder / label).iterdir()
    }


@pytest.mark.parametrize("place", ["in each split", "at the top"])
def test_metadata_and_folders_of_splits_go_together(in_splits: Path, ingest, place: str) -> None:
    expected = sides(ingest(in_splits, to="classes"))
    for folder in in_splits.iterdir() if place == "in each split" else [in_splits]:
        table = [{"file_name": path, "label": path.split("/")[-2]} for path, _ in rows(folder)]
        json_lines(folder / "metadata.jsonl", [dict(row) for row in table])
    assert sides(ingest(in_splits, to="metadata")) == expected


def test_splits_have_the_same_names_as_folders_and_in_a_column(in_splits: Path, ingest) -> None:
    for name, other in (("train", "Training"), ("validation", "dev"), ("test", "evaluation")):
        (in_splits / name).rename(in_splits / other)
    folders = sides(ingest(in_splits, to="folders"))
    assert {(path.split("/")[0], split) for path, (_, split) in folders.items()} == {
        ("Training", "train"),
        ("dev", "val"),
        ("evaluation", "test"),
    }
    table = [{"image": path, "label": label, "split": path.split("/")[0]} for path, (label, _) in folders.items()]
    assert sides(ingest(json_lines(in_splits / "all.jsonl", [dict(row) for row in table]), to="column")) == folders


def test_splits_among_other_folders_are_no_classes(in_splits: Path, refused) -> None:
    (in_splits / "unlabelled").mkdir()
    message = refused(in_splits)
    assert "are splits (test, train, validation), others are not (unlabelled): expected splits alone" in message


def test_a_missing_train_is_named(in_splits: Path, refused) -> None:
    shutil.rmtree(in_splits / "train")
    message = refused(in_splits)
    assert "(test, validation) are splits, and there is none for train: expected train, and validation or" in message


@pytest.mark.parametrize(("missing", "given"), [("val", "test"), ("test", "val")])
def test_a_missing_split_is_taken_out_of_train(in_splits: Path, ingest, missing: str, given: str) -> None:
    shutil.rmtree(in_splits / SPLIT_NAMES[missing])
    found = ingest(in_splits)
    folders = {path: path.split("/")[0] for path in sides(found)}
    came_from = {split: {folders[p] for p, (_, s) in sides(found).items() if s == split} for split in SPLIT_NAMES}
    assert came_from == {"train": {"train"}, missing: {"train"}, given: {SPLIT_NAMES[given]}}
    assert found.manifest.split_policy["by"] == ["content", "source"]


@pytest.mark.parametrize(("missing", "given"), [("val", "test"), ("test", "val")])
def test_what_moves_out_of_a_given_split_into_train_leaves_it(
    in_splits: Path, ingest, missing: str, given: str
) -> None:
    shutil.rmtree(in_splits / SPLIT_NAMES[missing])
    before = ingest(in_splits, to="before")
    for label in ("cat", "dog"):
        moved = sorted((in_splits / SPLIT_NAMES[given] / label).iterdir())[0]
        moved.rename(in_splits / "train" / label / f"moved {moved.name}")
    after = sides(ingest(in_splits, "--previous", str(before.folder), to="after"))
    assert {path.split("/")[0] for path, (_, split) in after.items() if split == given} == {SPLIT_NAMES[given]}
    assert {path: side for path, side in after.items() if "moved" not in path}.items() <= sides(before).items()


def test_look_alikes_do_not_come_into_a_test_set_that_is_given(in_splits: Path, ingest, tmp_path: Path) -> None:
    shutil.rmtree(in_splits / "validation")
    before = sides(ingest(in_splits, to="before"))
    original = next(iter(sorted((in_splits / "test" / "cat").iterdir())))
    with Image.open(original) as image:
        image.convert("RGB").save(in_splits / "train" / "cat" / "look-alike.jpg", quality=60)
    after = ingest(in_splits, "--max-bad-fraction", "0.1", to="after")
    assert sides(after) == before
    assert [row.reason for row in quarantined(after)] == ["near-duplicate"]


def test_a_split_without_classes_is_named(in_splits: Path, refused) -> None:
    for file in (in_splits / "test").rglob("*.png"):
        file.rename(in_splits / "test" / f"{file.parent.name} {file.name}")
    for label in ("cat", "dog"):
        (in_splits / "test" / label).rmdir()
    assert f"{in_splits / 'test'} has no subfolders: expected a subfolder a class" in refused(in_splits)


def test_metadata_that_contradict_their_folder_are_refused(in_splits: Path, refused) -> None:
    (in_splits / "test" / "metadata.csv").write_text("file_name,label,split\ncat/02.png,cat,val\n")
    assert "test/cat/02.png lies in the folder of test, but its metadata say val" in refused(in_splits)


def test_metadata_that_cannot_be_followed_are_refused(animals: Path, refused, tmp_path: Path) -> None:
    shutil.copy(animals / "cat" / "00.png", tmp_path)
    (animals / "metadata.csv").write_text("file_name,label\n../00.png,cat\n/etc/x.png,dog\n")
    message = refused(animals)
    assert "2 rows of" in message and "lead out of its folder: ../00.png, " in message
    (animals / "metadata.jsonl").touch()
    assert "has 2 metadata files (metadata.csv, metadata.jsonl): expected one" in refused(animals)


def test_a_folder_that_needs_its_manifest_says_so(animals: Path, refused) -> None:
    shutil.rmtree(animals / "dog")
    (animals / "all.csv").touch()
    assert f"To read its manifest, name it: --source {animals}/all.csv" in refused(animals)


def test_linked_folders_are_read_as_if_they_lay_there(animals: Path, ingest, tmp_path: Path) -> None:
    expected = {sample.id for sample in ingest(animals, to="plain").samples()}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number in range(10):
        (animals / "dog" / f"{number:02d}.png").rename(elsewhere / f"{number}.png")
    (elsewhere / "round").symlink_to(animals / "dog")
    (elsewhere / "back").symlink_to(animals)
    (animals / "dog" / "a batch").symlink_to(elsewhere)
    (animals / "dog" / "the same batch").symlink_to(elsewhere)
    dataset = ingest(animals, to="linked")
    assert {sample.id for sample in dataset.samples()} == expected
    assert not list(quarantined(dataset))
    assert sum(sample.path.startswith("dog/a batch/") for sample in dataset.samples()) == 10


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    (entry,) = FolderTree(tmp_path).below("gone")
    assert entry.path == "gone"
    assert entry.file.problem() == ("unreadable", "the folder cannot be listed (No such file or directory)")


def test_of_a_thousand_listed_folders_each_is_looked_through_once() -> None:
    entries = [Entry(f"{number % 1000:03d}/{number}.png", MISSING) for number in range(50_000)]
    tree, started = ListedTree("objects", [*entries, Entry("007", MISSING), Entry("007/.x", MISSING)]), process_time()
    found = {folder: tree.below(folder) for folder in tree.top()[0]}
    assert process_time() - started < 2  # 0.05 s; for each folder through all files, 3.6 s.
    assert sum(map(len, found.values())) == 50_000 and len(found["007"]) == 50
