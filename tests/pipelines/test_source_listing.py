"""A change of a source of any kind is seen in its listing; what is no change is not."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.interchange.errors import BadInput
from pipelines.source_listing import files_below, source_listing
from tests.permissions import permissions_hold


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "there is no such folder"),
        ("empty", "is an empty folder"),
        ("gs://bucket/images", "on a local disk"),
    ],
)
def test_a_source_that_is_not_there_is_refused(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=words):
        source_listing(source if "://" in source else str(tmp_path / source), "image")


def test_what_is_not_there_is_named_by_its_own_option() -> None:
    with pytest.raises(BadInput, match=r"^--test-manifest nowhere\.csv: there is no such folder or file"):
        source_listing("nowhere.csv", "image", "--test-manifest")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two files in folders."""
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        (tmp_path / "images" / name).write_bytes(name.encode())
    return tmp_path / "images"


@pytest.mark.parametrize(("mode", "found"), [(0o000, "dog"), (0o444, "dog/b.png")])
def test_a_folder_that_cannot_be_listed_or_entered_counts_and_leaves_the_others(
    images: Path, mode: int, found: str
) -> None:
    before = source_listing(str(images), "image")
    (images / "dog").chmod(mode)
    with permissions_hold():
        assert {path.relative_to(images).as_posix() for path in files_below(images)} == {"cat/a.png", found}
        assert source_listing(str(images), "image") != before
    (images / "dog").chmod(0o755)
    assert source_listing(str(images), "image") == before


def manifest(images: Path, name: str, label: str) -> Path:
    rows = [{"image": "cat/a.png", "label": label}, {"image": "dog/b.png", "label": "dog"}]
    path = images / name
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        path.write_text("image,label\n" + "\n".join(",".join(row.values()) for row in rows))
    return path


@pytest.mark.parametrize("name", ["all.csv", "all.jsonl", "all.parquet"])
def test_a_manifest_counts_with_its_bytes_and_the_files_it_names(images: Path, name: str) -> None:
    path = manifest(images, name, "cat")
    before = source_listing(str(path), "image")
    assert before["files"] == 3
    manifest(images, name, "cow")
    relabelled = source_listing(str(path), "image")
    (images / "dog" / "b.png").write_bytes(b"another picture")
    repainted = source_listing(str(path), "image")
    assert len({found["listing"] for found in (before, relabelled, repainted)}) == 3
    (images / "dog" / "unnamed.png").touch()
    assert source_listing(str(path), "image") == repainted


def test_a_table_of_images_counts_with_its_bytes_and_the_files_it_names(images: Path) -> None:
    rows = [{"bytes": None, "path": "cat/a.png"}, {"bytes": b"PNG", "path": "b.png"}, None]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"image": pa.array(rows, kind), "photo": [b"PNG"] * 3}), images / "all.parquet")
    before = source_listing(str(images / "all.parquet"), "image")
    (images / "cat" / "a.png").write_bytes(b"another picture")
    assert source_listing(str(images / "all.parquet"), "image") != before
    assert source_listing(str(images / "all.parquet"), "photo")["files"] == 1


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_archive_counts_by_size_and_time(images: Path, tmp_path: Path, kind: str) -> None:
    path = shutil.make_archive(str(tmp_path / "archive"), kind, images)
    before = source_listing(path, "image")
    assert before == source_listing(path, "image")
    assert before["files"] == 1
    inside = source_listing(f"{path}/all.csv", "image")
    os.utime(path, (1, 1))
    assert source_listing(path, "image") != before
    assert source_listing(f"{path}/all.csv", "image") != inside


def test_a_folder_counts_with_its_metadata_and_behind_links(images: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (images / "dog").rename(elsewhere)
    (images / "dog").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(images)
    before = source_listing(str(images), "image")
    (elsewhere / "c.png").touch()
    behind_a_link = source_listing(str(images), "image")
    (images / "metadata.jsonl").touch()
    assert len({before["listing"], behind_a_link["listing"], source_listing(str(images), "image")["listing"]}) == 3


def test_a_prefix_on_s3_is_known_by_the_etags_of_its_objects(s3_store: str) -> None:
    bucket, prefix = s3_store.removeprefix("s3://").split("/", 1)
    client = boto3.session.Session().client("s3")
    for name in ("a/1.png", "b/2.png", "all.csv"):
        client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=name.encode())
    first, table, single = (source_listing(f"{s3_store}{end}", "image") for end in ("", "/all.csv", "/a/1.png"))
    assert (first["files"], table["files"], single["files"]) == (3, 3, 1)
    assert source_listing(s3_store, "image") == first
    client.put_object(Bucket=bucket, Key=f"{prefix}/b/2.png", Body=b"other b")
    assert source_listing(s3_store, "image")["listing"] != first["listing"]
    assert source_listing(f"{s3_store}/all.csv", "image")["listing"] != table["listing"]
    client.close()
    client.put_object(Bucket=bucket, Key=f"{prefix}/some.zip", Body=b"packed")
    inside = source_listing(f"{s3_store}/some.zip/labels.csv", "image")
    assert inside["files"] == 1
    client.put_object(Bucket=bucket, Key=f"{prefix}/some.zip", Body=b"packed anew")
    assert source_listing(f"{s3_store}/some.zip/labels.csv", "image") != inside
    with pytest.raises(BadInput, match="no such object or prefix"):
        source_listing(f"{s3_store}/nowhere", "image")


def test_a_manifest_on_s3_counts_with_objects_that_it_names_elsewhere(s3_store: str) -> None:
    bucket, prefix = s3_store.removeprefix("s3://").split("/", 1)
    client = boto3.session.Session().client("s3")

    def listed_with(key: str, data: bytes) -> dict[str, Any]:
        client.put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=data)
        return source_listing(f"{s3_store}/labels/all.csv", "image")

    rows = f"image,label\n../pool/1.png,a\n{s3_store}/pool/2.png,b\n3.png,b\n{s3_store}/pool/gone.png,b\n"
    first = listed_with("labels/all.csv", rows.encode())
    assert first["files"] == 4 and source_listing(f"{s3_store}/labels/all.csv", "image") == first
    seen = [
        first,
        listed_with("pool/1.png", b"one"),
        listed_with("pool/2.png", b"two"),
        listed_with("pool/2.png", b"2"),
    ]
    assert len({one["listing"] for one in seen}) == 4
    assert listed_with("pool/unnamed.png", b"other") == seen[-1]
    client.close()
