"""Parquet as Hugging Face's `datasets` writes it: classes as numbers with names in the metadata, images as structs."""

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.quarantine import quarantined

# What datasets 5.2.0 wrote for Features({"image": Image(), "label": ClassLabel(names=["dog", "cat"])}).
FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["dog", "cat"], "_type": "ClassLabel"}}
NUMBERS = {"dog": 0, "cat": 1}


def written(path: Path, columns: dict[str, Any], features: object) -> Path:
    said = features if isinstance(features, bytes) else json.dumps({"info": {"features": features}}).encode()
    pq.write_table(pa.table(columns).replace_schema_metadata({"huggingface": said}), path)
    return path


def images(animals: Path) -> list[Path]:
    return sorted(animals.rglob("*.png"))


def columns(animals: Path, image: str = "image") -> dict[str, Any]:
    files = images(animals)
    paths = [{"bytes": None, "path": file.relative_to(animals).as_posix()} for file in files]
    struct = pa.array(paths, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    return {image: struct, "label": [NUMBERS[file.parent.name] for file in files]}


@pytest.mark.parametrize(("name", "image"), [("all.parquet", "image"), ("metadata.parquet", "file_name")])
def test_numbers_become_the_names_in_the_metadata(
    animals: Path, ingest, caplog: pytest.LogCaptureFixture, name: str, image: str
) -> None:
    folder = ingest(animals, to="folder")
    source = written(animals / name, columns(animals, image), FEATURES)
    caplog.set_level(logging.INFO, logger="graft")
    dataset = ingest(source if name == "all.parquet" else animals, to="parquet")
    assert dataset.manifest.classes == ["cat", "dog"]
    assert dataset.digest() == folder.digest()
    assert "column 'label': its numbers are names in the file's Hugging Face metadata: dog, cat" in caplog.messages


def test_other_columns_get_their_names_and_no_label_stays_none(animals: Path, ingest) -> None:
    table = columns(animals)
    table["label"] = [-1, None, *table["label"][2:]]
    table["split"] = pa.array([n % 3 for n in range(len(table["label"]))], pa.int64())
    table["loom"] = [n % 2 for n in range(len(table["label"]))]
    other = {"names": ["val", "test", "train"], "num_classes": 3, "id": None, "_type": "ClassLabel"}
    looms = {"names": ["left", "right"], "_type": "ClassLabel"}
    features = FEATURES | {"split": other, "loom": looms, "boxes": [{"_type": "Value"}]}
    dataset = ingest(written(animals / "all.parquet", table, features), "--max-bad-fraction", "0.1")
    samples = {sample.path: sample for sample in dataset.samples()}
    third, fourth = (samples[file.relative_to(animals).as_posix()] for file in images(animals)[2:4])
    assert (third.label, third.split, third.attributes) == ("cat", "train", '{"loom": "left"}')
    assert (fourth.split, fourth.attributes) == ("val", '{"loom": "right"}')
    wrong = [(entry.reason, entry.detail) for entry in quarantined(dataset)]
    assert wrong == [("wrong label", f"row {row} of all.parquet has nothing in column 'label'") for row in (1, 2)]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            FEATURES | {"label": {"names": ["dog"], "_type": "ClassLabel"}},
            "column 'label' holds 1 in 30 rows (1, 2, 3, 4, 5 and 25 more), and its Hugging Face metadata have "
            "names for 0 to 0 alone: dog)",
        ),
        (FEATURES | {"label": {"_type": "ClassLabel"}}, "its metadata 'huggingface' are damaged: expected JSON"),
        (b"{", "its metadata 'huggingface' are damaged: expected JSON"),
    ],
)
def test_numbers_without_a_name_are_refused_in_words(animals: Path, refused, features: object, message: str) -> None:
    assert message in refused(written(animals / "all.parquet", columns(animals), features))


def test_images_inside_a_metadata_file_are_refused_in_words(animals: Path, refused) -> None:
    table = columns(animals, "file_name")
    inside = [{"bytes": b"PNG", "path": None}, *table["file_name"].to_pylist()[1:]]
    table["file_name"] = pa.array(inside, table["file_name"].type)
    written(animals / "metadata.parquet", table, FEATURES)
    message = "column 'file_name' holds the images themselves in 1 of 60 rows, not their paths. A table of images is"
    assert message in refused(animals)


@pytest.mark.parametrize("features", [None, {}, {"label": {"dtype": "int64", "_type": "Value"}}])
def test_numbers_that_have_no_names_stay_numbers(animals: Path, ingest, features: object) -> None:
    dataset = ingest(written(animals / "all.parquet", columns(animals), features))
    assert dataset.manifest.classes == ["0", "1"]
