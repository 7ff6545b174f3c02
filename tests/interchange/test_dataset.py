"""The dataset artifact: shards, ledgers, originals; damage is named."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from components.interchange import stored_images as module
from components.interchange.dataset import Split, open_dataset
from components.interchange.errors import BadInput
from components.interchange.ledgers import (
    QUARANTINE_SCHEMA,
    Quarantined,
    Sample,
    read_samples,
    read_table,
    write_quarantine,
    write_samples,
)
from components.interchange.pixels import center_crop
from components.interchange.stored_images import (
    Encoding,
    StoredImage,
    pixels_of_jpeg,
    shared_shards,
)
from tests.shards import stored_image, write_shards


def stored(count: int, encoding: Encoding = "raw") -> list[StoredImage]:
    rng = np.random.default_rng(1)
    sizes = [(5 + number % 3, 6, 3) for number in range(count)]
    images = [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
    return [stored_image(f"{number:064x}", number % 2, image, encoding) for number, image in enumerate(images)]


def opened(copy: Path, names: list[str], encoding: Encoding = "raw") -> Split:
    card = json.loads((copy / "manifest.json").read_text())
    card["shards"]["train"], card["encoding"] = names, encoding
    (copy / "manifest.json").write_text(json.dumps(card))
    return open_dataset(copy).split("train")


def pixels(image: StoredImage, encoding: Encoding) -> NDArray[np.uint8]:
    if encoding == "jpeg":
        return pixels_of_jpeg(image.data)
    return np.frombuffer(image.data, np.uint8).reshape(image.height_px, image.width_px, 3)


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
@pytest.mark.parametrize(
    ("bounds", "images_per_shard"), [({}, 100), ({"ROWS_PER_BATCH": 4}, 100), ({"BYTES_PER_BATCH": 200}, 5)]
)
def test_images_come_back_as_they_were_however_they_are_cut(
    bounds: dict[str, int],
    images_per_shard: int,
    encoding: Encoding,
    tiny_dataset: Path,
    copied,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(module, name, value)
    copy, images = copied(tiny_dataset), stored(21, encoding)
    names = write_shards(copy, "train", images, encoding, images_per_shard)
    assert len(names) == (5 if images_per_shard == 5 else 1)
    split = opened(copy, names, encoding)
    assert split.ids == [image.id for image in images]
    assert split.labels_N.tolist() == [image.label for image in images]
    expected = [pixels(image, encoding) for image in images]
    assert split.images.shapes_N2.tolist() == [list(each.shape[:2]) for each in expected]
    for found, each in zip(split.images, expected, strict=True):
        assert np.array_equal(found, each)
    for row, found in zip([20, 0, 7, 7], split.images.many(np.array([20, 0, 7, 7])), strict=True):
        assert np.array_equal(found, expected[row])
    assert np.array_equal(split.images[-1], expected[-1])
    assert len(split.images[3:9:2]) == 3


@pytest.mark.parametrize("count", [0, 1, 15, 16, 200, 5000])
def test_a_new_image_changes_one_shard(count: int) -> None:
    ids = sorted(sha256(str(number).encode()).hexdigest() for number in range(count))
    parts = [tuple(ids[part]) for part in shared_shards(ids)]
    assert [image_id for part in parts for image_id in part] == ids and all(parts)
    assert len(parts) <= max(1, count // 8)
    more = sorted([*ids, sha256(b"new").hexdigest()])
    changed = [part for part in shared_shards(more) if tuple(more[part]) not in parts]
    assert len(changed) == 1 or count == 15  # There they become two.


def test_a_damaged_jpeg_of_a_shard_is_named(tiny_dataset: Path, copied) -> None:
    copy, (first, second) = copied(tiny_dataset), stored(2, "jpeg")
    shards = write_shards(copy, "train", [first, second._replace(data=second.data[:300])], "jpeg")
    images = opened(copy, shards, "jpeg").images
    with pytest.raises(BadInput, match=r"image 1 of a split does not decode .* Was the dataset copied whole"):
        images.many([0, 1])
    shards = write_shards(copy, "train", [first, second._replace(data=first.data)], "jpeg")
    with pytest.raises(BadInput, match=r"image 1 of a split has the shape \(5, 6, 3\), not \(6, 6, 3\)"):
        opened(copy, shards, "jpeg").images.many([1])


def test_shards_of_another_encoding_than_the_manifest_says_are_named(tiny_dataset: Path, copied) -> None:
    copy = copied(tiny_dataset)
    with pytest.raises(BadInput, match=r"train-00000\.arrow holds no jpeg images, as its manifest says"):
        opened(copy, write_shards(copy, "train", stored(2), "raw"), "jpeg")


def test_a_dataset_of_version_1_is_read_as_raw(tiny_dataset: Path, copied) -> None:
    copy = copied(tiny_dataset)
    card = json.loads((copy / "manifest.json").read_text())
    del card["encoding"]
    (copy / "manifest.json").write_text(json.dumps(card | {"format": "graft.dataset/1"}))
    old, new = (open_dataset(folder).split("val").images for folder in (copy, tiny_dataset))
    assert all(np.array_equal(one, other) for one, other in zip(old, new, strict=True))


def test_a_split_without_images_is_empty(tiny_dataset: Path, copied) -> None:
    copy = copied(tiny_dataset)
    assert write_shards(copy, "train", [], "raw") == []
    assert len(opened(copy, [])) == 0


def test_centre_crops_of_a_split_are_those_of_pixels(tiny_dataset: Path) -> None:
    split = open_dataset(tiny_dataset).split("val")
    crops = split.center_crops([3, 1], 31)
    assert np.array_equal(crops[0], center_crop(split.images[3], 31))
    assert np.array_equal(crops[1], center_crop(split.images[1], 31))


def test_the_ledgers_come_back(tmp_path: Path) -> None:
    place = tmp_path / "a folder=with ünïcode"
    place.mkdir()
    samples = [Sample("a" * 64, "Köln am Rhein/ß 1.png", "Köln", "train", None, 30, 40, "PNG", "0f" * 8, 0.1, None)]
    samples.append(
        Sample("b" * 64, "x/y.jpg", "x", "test", "patient 7", 1, 2, "JPEG", "f0" * 8, 1.0, '{"light": "day"}')
    )
    quarantined = [Quarantined("z.png", "truncated", "why"), Quarantined("a.png", "empty", "the file has no bytes")]
    write_samples(place, samples)
    write_quarantine(place, quarantined)
    assert read_samples(place) == samples
    assert read_table(place / "quarantine.parquet", QUARANTINE_SCHEMA) == quarantined[::-1]


def test_a_ledger_of_before_colour_profiles_is_read(tmp_path: Path) -> None:
    sample = Sample("a" * 64, "x.png", "x", "train", None, 30, 40, "PNG", "0f" * 8, 0.1, None, "sRGB")
    write_samples(tmp_path, [sample])
    assert read_samples(tmp_path) == [sample]
    table = pq.read_table(tmp_path / "samples.parquet")
    pq.write_table(table.drop_columns(["icc"]), tmp_path / "samples.parquet")
    assert read_samples(tmp_path) == [sample._replace(icc=None)]


def test_empty_ledgers_come_back(tmp_path: Path) -> None:
    write_samples(tmp_path, [])
    write_quarantine(tmp_path, [])
    assert read_samples(tmp_path) == read_table(tmp_path / "quarantine.parquet", QUARANTINE_SCHEMA) == []


def test_samples_and_originals_belong_together(tiny_dataset: Path) -> None:
    dataset = open_dataset(tiny_dataset)
    originals = dataset.originals()
    assert set(originals) == {sample.id for sample in dataset.samples() if sample.split == "test"}
    assert all(path.is_file() and path.name == f"{image_id}.png" for image_id, path in originals.items())


def test_a_missing_ledger_shard_or_folder_is_named(tiny_dataset: Path, copied) -> None:
    copy = open_dataset(copied(tiny_dataset))
    (copy.folder / "samples.parquet").unlink()
    (copy.folder / "val-00000.arrow").unlink()
    (copy.folder / "originals").rename(copy.folder / "elsewhere")
    with pytest.raises(BadInput, match=r"has no samples\.parquet\. Was it copied whole"):
        copy.samples()
    with pytest.raises(BadInput, match=r"lacks the shard val-00000\.arrow"):
        copy.split("val")
    with pytest.raises(BadInput, match="has no originals"):
        copy.originals()


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(BadInput, match=r"samples\.parquet cannot be read as a ledger"):
        read_samples(tmp_path)
    write_quarantine(tmp_path, [])
    (tmp_path / "quarantine.parquet").rename(tmp_path / "samples.parquet")
    with pytest.raises(BadInput, match=r"samples\.parquet lacks id, label, split"):
        read_samples(tmp_path)


def test_a_ledger_of_an_older_graft_is_refused_by_its_columns(tmp_path: Path) -> None:
    write_samples(tmp_path, [])
    with (tmp_path / "samples.parquet").open("rb") as stream:
        older = pq.read_table(stream).drop_columns(["phash", "attributes"])
    pq.write_table(older, tmp_path / "samples.parquet")
    with pytest.raises(BadInput, match=r"samples\.parquet lacks phash, attributes: an older Graft wrote it\. Run the"):
        read_samples(tmp_path)


def test_a_manifest_without_a_field_is_named(tiny_dataset: Path, copied) -> None:
    copy = copied(tiny_dataset)
    card = json.loads((copy / "manifest.json").read_text())
    del card["classes"]
    (copy / "manifest.json").write_text(json.dumps(card))
    with pytest.raises(
        BadInput, match=r"manifest\.json is damaged: classes \(field required\)\. Make the dataset again"
    ):
        open_dataset(copy)


def test_a_newer_format_is_refused_by_name(tiny_dataset: Path, copied) -> None:
    copy = copied(tiny_dataset)
    card = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(card.replace("graft.dataset/2", "graft.dataset/3"))
    with pytest.raises(BadInput, match=r"has format graft\.dataset/3; this Graft reads up to graft\.dataset/2"):
        open_dataset(copy)
