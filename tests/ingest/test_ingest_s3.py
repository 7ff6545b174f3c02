"""Sources on S3, on a real SeaweedFS: the same datasets as from the disk; objects that vanish or change while read."""

import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest

from components.ingest import remote
from components.ingest.files import MISSING
from components.ingest.manifests import Columns
from components.ingest.merge.spec import IngestMerge
from components.ingest.remote import S3File
from components.ingest.sources import read_source
from components.ingest.trees import Entry
from components.interchange.artifact import digest
from components.interchange.dataset import SPLITS
from components.interchange.s3_objects import Bucket, S3Object, bucket_and_key
from tests.ingest.test_ingest_ledger import account
from tests.ingest.test_ingest_shares import named, outputs, run, share
from tests.ingest.test_odd_files import held
from tests.odd_files import write_corpus
from tests.quarantine import quarantined


@pytest.fixture
def uploaded(s3_store: str):
    """`uploaded(folder)` puts a folder's files below a new prefix and gives its URI."""
    bucket, prefix = s3_store.removeprefix("s3://").split("/", 1)
    client = boto3.session.Session().client("s3")

    def upload(folder: Path) -> str:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                client.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(folder).as_posix()}")
        return s3_store

    yield upload
    client.close()


def manifest_of(folder: Path) -> None:
    files = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*.png"))]
    (folder / "all.csv").write_text("\n".join(["image,label", *(f"{name},{name.split('/')[0]}" for name in files)]))


def archives_of(folder: Path, target: Path) -> None:
    target.mkdir()
    with zipfile.ZipFile(target / "all.zip", "w") as packed, tarfile.open(target / "all.tar.gz", "w:gz") as tar:
        for file in sorted(folder.rglob("*.png")):
            packed.write(file, file.relative_to(folder))
            tar.add(file, file.relative_to(folder))


def test_a_prefix_and_a_manifest_give_the_datasets_of_the_folder(
    animals: Path, ingest, uploaded, tmp_path: Path
) -> None:
    (animals / "dog" / "empty.png").touch()
    manifest_of(animals)
    uri = uploaded(animals)
    prefix = ingest(uri, to="s3")
    assert ingest(animals, to="disk").digest() == prefix.digest()
    shares = [share(uri, tmp_path / f"share {number}", f"{number}/2") for number in (1, 2)]
    assert run(IngestMerge, uri, *named(shares), *outputs(tmp_path / "merged")) == 0
    assert digest(tmp_path / "merged") == prefix.digest()
    table = ingest(f"{uri}/all.csv", "--reuse", str(prefix.folder), to="s3 table")
    assert ingest(animals / "all.csv", to="disk table").digest() == table.digest()
    assert json.loads((table.folder / "run.json").read_text())["files_read"] == 0


def test_a_manifest_names_objects_elsewhere_with_one_client(animals: Path, uploaded, tmp_path: Path) -> None:
    files = [file.relative_to(animals).as_posix() for file in sorted(animals.rglob("*.png"))]
    lists, uri = animals / "lists", uploaded(animals)
    lists.mkdir()
    lines = [f"{f'{uri}/{name}' if number % 2 else f'../{name}'},{name[:3]}" for number, name in enumerate(files)]
    (lists / "all.csv").write_text("\n".join(["image,label", *lines, "../cat/gone.png,cat"]))
    uploaded(animals)
    listing = read_source(f"{uri}/lists/all.csv", Columns("image", "label", "split", "group"), tmp_path)
    found = {image.path: image.file for image in listing.images}
    assert found.pop("../cat/gone.png") == MISSING
    assert len(found) == 60 and all(isinstance(file, S3File) for file in found.values())
    assert len({id(file.bucket) for file in found.values()}) == 1
    assert found["../dog/00.png"].read() == (animals / "dog" / "00.png").read_bytes()


def test_archives_are_read_without_unpacking(animals: Path, ingest, uploaded, tmp_path: Path) -> None:
    archives_of(animals, tmp_path / "packed")
    uri, expected = uploaded(tmp_path / "packed"), ingest(animals, to="disk").digest()
    for name in ("all.zip", "all.tar.gz"):
        found = ingest(f"{uri}/{name}", to=name)
        assert found.digest() == expected
        assert not [path for path in found.folder.iterdir() if path.is_dir() and path.name != "originals"]


def test_objects_that_vanish_or_change_after_the_listing_end_in_the_ledger(
    animals: Path, ingest, uploaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = uploaded(animals)
    bucket, prefix = bucket_and_key(uri)
    client = boto3.session.Session().client("s3")
    listed = remote.S3Tree.below

    def listed_then_touched(tree: remote.S3Tree, folder: str) -> list[Entry]:
        entries = listed(tree, folder)
        if folder == "dog":
            client.delete_object(Bucket=bucket.name, Key=f"{prefix}/dog/00.png")
            client.put_object(Bucket=bucket.name, Key=f"{prefix}/dog/01.png", Body=b"another picture")
        return entries

    monkeypatch.setattr(remote.S3Tree, "below", listed_then_touched)
    dataset = ingest(uri, "--max-bad-fraction", "0.1")
    client.close()
    found = {entry.path: (entry.reason, entry.detail.split(": ")[-1]) for entry in quarantined(dataset)}
    assert found == {
        "dog/00.png": ("changed", "it was there when the source was listed"),
        "dog/01.png": ("changed", "its ETag is another one now"),
    }
    assert sum(len(dataset.split(name)) for name in SPLITS) == 58


@pytest.mark.filterwarnings("ignore:.*EXIF", "ignore::UserWarning:PIL")
def test_odd_files_end_in_the_ledger_as_on_a_disk_while_objects_vanish_and_change(
    tmp_path: Path, ingest, uploaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write_corpus(tmp_path / "odd")
    uri = uploaded(tmp_path / "odd")
    bucket, prefix = bucket_and_key(uri)
    client = boto3.session.Session().client("s3")
    listed = remote.S3Tree.__init__

    def listed_then_touched(tree: remote.S3Tree, *where: Any) -> None:
        listed(tree, *where)
        for number in range(0, 20, 2):
            client.delete_object(Bucket=bucket.name, Key=f"{prefix}/plain/good {number}.png")
            client.put_object(Bucket=bucket.name, Key=f"{prefix}/plain/good {number + 1}.png", Body=b"\x89PNG")

    monkeypatch.setattr(remote.S3Tree, "__init__", listed_then_touched)
    found = account(ingest(uri, "--max-bad-fraction", "1"))
    client.close()
    held(found, expected | {f"plain/good {number}.png": "changed" for number in range(20)})


def test_a_manifest_in_an_archive_and_one_of_test_images(
    animals: Path, ingest, uploaded, refused, tmp_path: Path
) -> None:
    tests = [sample for sample in ingest(animals, to="first").samples() if sample.split == "test"]
    (tmp_path / "tests").mkdir()
    manifest_of(animals)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for file in animals.rglob("*.*"):
            packed.write(file, Path("inside") / file.relative_to(animals))
    (tmp_path / "tests" / "test.csv").write_text("\n".join(["id", *(sample.id for sample in tests)]))
    (tmp_path / "all.zip").rename(tmp_path / "tests" / "all.zip")
    uri = uploaded(tmp_path / "tests")

    how = ("--test-manifest", f"{uri}/test.csv", "--val-fraction", "0.1")
    from_disk = ingest(tmp_path / "tests" / "all.zip" / "inside" / "all.csv", *how, to="disk")
    from_s3 = ingest(f"{uri}/all.zip/inside/all.csv", *how, to="s3")
    assert from_s3.digest() == from_disk.digest()
    assert {sample.id for sample in from_s3.samples() if sample.split == "test"} == {sample.id for sample in tests}
    assert "there is no such object" in refused(animals, "--test-manifest", f"{uri}/none.csv")
    whole = uploaded(animals)
    (tmp_path / "uris.csv").write_text("\n".join(["image", *(f"{whole}/{sample.path}" for sample in tests)]))
    by_uri = ingest(whole, "--test-manifest", str(tmp_path / "uris.csv"), to="by-uri")
    assert {sample.id for sample in by_uri.samples() if sample.split == "test"} == {sample.id for sample in tests}


def test_an_archive_that_is_replaced_while_it_is_read_is_refused(
    animals: Path, uploaded, refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives_of(animals, tmp_path / "packed")
    uri = uploaded(tmp_path / "packed")
    bucket, _ = bucket_and_key(uri)
    found = Bucket.find

    def found_then_replaced(self: Bucket, key: str) -> S3Object | None:
        one = found(self, key)
        boto3.session.Session().client("s3").put_object(Bucket=bucket.name, Key=key, Body=b"another archive")
        return one

    monkeypatch.setattr(Bucket, "find", found_then_replaced)
    assert "it changed while it was read. Start again" in refused(f"{uri}/all.zip")


def test_nothing_under_a_prefix_is_refused_in_words(s3_store: str, refused) -> None:
    assert "there is no source at" in refused(f"{s3_store}/nowhere")
