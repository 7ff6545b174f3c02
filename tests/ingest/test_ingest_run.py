"""The ingest step from its command line: what it keeps, what it quarantines, what it refuses; digests of content."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.interchange.artifact import digest, file_digest
from components.interchange.dataset import SPLITS, Dataset
from components.interchange.pixels import preprocess
from components.interchange.preprocessing import Preprocessing
from components.interchange.report import read_report
from tests.quarantine import quarantined

WHOLE = Image.new("RGB", (16, 16), (9, 9, 9))


def reasons(dataset: Dataset) -> dict[str, str]:
    return {entry.path: entry.reason for entry in quarantined(dataset)}


def test_a_folder_becomes_a_dataset(animals: Path, ingest) -> None:
    dataset = ingest(animals)
    samples = dataset.samples()
    assert dataset.classes == ["cat", "dog"]
    assert len(samples) == 60
    assert {sample.label for sample in samples} == {"cat", "dog"}
    by_id = {sample.id: sample for sample in samples}
    for name in SPLITS:
        split = dataset.split(name)
        assert split.ids == sorted(split.ids) == [sample.id for sample in samples if sample.split == name]
        for image_id, label, pixels in zip(split.ids, split.labels_N, split.images, strict=True):
            source = animals / by_id[image_id].path
            assert file_digest(source) == image_id
            assert dataset.classes[label] == source.parent.name
            with Image.open(source) as image:
                small = np.asarray(image.convert("RGB").resize((9, 8), Image.Resampling.BICUBIC))
            assert pixels.shape == small.shape
            assert np.abs(pixels.astype(int) - small).mean() < 1
            assert (by_id[image_id].width, by_id[image_id].height) == (12, 10)


def test_the_manifest_and_the_report_count_what_is_there(animals: Path, ingest) -> None:
    (animals / "dog" / "broken.png").write_bytes(b"no picture")
    dataset = ingest(animals)
    report = read_report(dataset.folder.with_name("dataset-report"))
    manifest = dataset.manifest
    for name in SPLITS:
        split = dataset.split(name)
        for index, label in enumerate(dataset.classes):
            number = int((split.labels_N == index).sum())
            row = report.row("images", f"{name}/{label}")
            assert row is not None
            assert manifest.counts[name][label] == row.value == number > 0
    values = {(row.name, row.of): row.value for row in report.rows}
    assert values[("sources", "")] == 61
    assert values[("quarantined", "")] == values[("quarantined", "not an image")] == manifest.quarantined == 1
    assert values[("bad_fraction", "")] == pytest.approx(1 / 61)
    assert report.details["quarantine"][0]["path"] == "dog/broken.png"
    assert "source" not in report.spec


def test_statistics_are_those_of_all_training_pixels(animals: Path, ingest) -> None:
    dataset = ingest(animals)
    pixels = np.concatenate([image.reshape(-1, 3) for image in dataset.split("train").images]) / 255
    assert dataset.manifest.statistics.mean == pytest.approx(pixels.mean(0), abs=1e-12)
    assert dataset.manifest.statistics.std == pytest.approx(pixels.std(0), abs=1e-12)


def test_the_digest_knows_neither_place_nor_threads_nor_file_times(animals: Path, ingest, tmp_path: Path) -> None:
    here = ingest(animals, to="here")
    moved = tmp_path / "another place" / "tiere"
    shutil.copytree(animals, moved)
    for file in moved.rglob("*.png"):
        os.utime(file, (1, 1))
    cores = os.sched_getaffinity(0) if sys.platform == "linux" else set()
    try:
        if cores:
            os.sched_setaffinity(0, {min(cores)})
        there = ingest(moved, to="there")
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
    assert here.digest() == there.digest()
    assert digest(tmp_path / "here-report") == digest(tmp_path / "there-report")
    if len(cores) > 1:
        threads = [json.loads((place.folder / "run.json").read_text())["num_threads"] for place in (here, there)]
        assert threads == [len(cores), 1]


def test_a_changed_pixel_changes_the_digest_of_its_split_alone(animals: Path, ingest) -> None:
    before = ingest(animals, to="before")
    sample = next(sample for sample in before.samples() if sample.split == "val")
    Image.open(animals / sample.path).transpose(Image.Transpose.ROTATE_180).save(animals / sample.path)
    table = [f"{entry.path},{entry.label},{entry.split}" for entry in before.samples()]
    (animals / "all.csv").write_text("\n".join(["image,label,split", *table]))
    after = ingest(animals / "all.csv", to="after").manifest.digests
    assert {name for name in SPLITS if after[name] != before.manifest.digests[name]} == {"val"}


def test_originals_are_test_files_untouched(animals: Path, ingest) -> None:
    dataset = ingest(animals)
    test = [sample for sample in dataset.samples() if sample.split == "test"]
    originals = dataset.originals()
    assert list(originals) == [sample.id for sample in test]
    for sample in test:
        assert originals[sample.id].name == f"{sample.id}.png"
        assert originals[sample.id].read_bytes() == (animals / sample.path).read_bytes()


def test_of_many_test_images_64_originals_are_kept(animals: Path, ingest) -> None:
    table = [f"{file.relative_to(animals).as_posix()},{file.parent.name}" for file in sorted(animals.rglob("*.png"))]
    for number in range(10):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(animals / f"new {number}.png")
        table.append(f"new {number}.png,dog")
    lines = [
        f"{row},{'train' if n < 2 or n == 69 else 'val' if n in (2, 68) else 'test'}" for n, row in enumerate(table)
    ]
    (animals / "all.csv").write_text("\n".join(["image,label,split", *lines]))
    dataset = ingest(animals / "all.csv")
    test = [sample.id for sample in dataset.samples() if sample.split == "test"]
    assert len(test) == 65
    assert list(dataset.originals()) == sorted(test)[:64]


def test_a_client_makes_the_same_pixels_from_an_original(animals: Path, ingest) -> None:
    dataset = ingest(animals)
    test, mean = dataset.split("test"), (0.5, 0.5, 0.5)
    how = Preprocessing(resize_short_px=8, interpolation="bicubic", crop_px=7, mean=mean, std=mean)
    crops = test.center_crops(range(len(test)), 7)
    for image_id, crop in zip(test.ids, crops, strict=True):
        assert np.array_equal(preprocess(dataset.originals()[image_id].read_bytes(), how), crop)


def test_odd_files_are_taken(animals: Path, ingest) -> None:
    (animals / "cat" / "größer & schöner" / "日本").mkdir(parents=True)
    deep = animals / "cat" / "größer & schöner" / "日本" / "a b,c%20#.JPEG"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (40, 20)).save(deep, "JPEG", exif=exif)
    Image.new("L", (20, 40), 7).save(animals / "dog" / "portrait.bmp")
    WHOLE.save(animals / "dog" / "a PNG that says.jpg", "PNG")
    (animals / "cat" / ".DS_Store").write_bytes(b"litter")
    (animals / "README.txt").write_text("beside the classes")
    dataset = ingest(animals)
    sizes = {sample.path: (sample.width, sample.height) for sample in dataset.samples()}
    assert reasons(dataset) == {"README.txt": "unlabelled"}
    assert sizes["cat/größer & schöner/日本/a b,c%20#.JPEG"] == (20, 40)
    assert sizes["dog/portrait.bmp"] == (20, 40)
    assert sizes["dog/a PNG that says.jpg"] == (16, 16)


def test_broken_files_are_quarantined_with_their_reason(animals: Path, ingest) -> None:
    cat = animals / "cat"
    (cat / "empty.png").touch()
    (cat / "text.jpg").write_text("not what it says")
    (cat / "half.jpg").write_bytes((cat / "00.png").read_bytes()[:200])
    (cat / "nowhere.png").symlink_to(cat / "gone.png")
    Image.new("RGB", (4, 4)).save(cat / "tiny.png")
    Image.new("RGB", (100, 20)).save(cat / "long.png")
    shutil.copy(cat / "01.png", cat / "copy of 01.png")
    shutil.copy(cat / "02.png", animals / "dog" / "cat after all.png")
    dataset = ingest(animals, "--max-bad-fraction", "0.1")
    assert reasons(dataset) == {
        "cat/empty.png": "empty",
        "cat/text.jpg": "not an image",
        "cat/half.jpg": "truncated",
        "cat/nowhere.png": "missing",
        "cat/tiny.png": "too small",
        "cat/long.png": "too elongated",
        "cat/copy of 01.png": "duplicate",
        "cat/02.png": "conflicting label",
        "dog/cat after all.png": "conflicting label",
    }
    details = {entry.path: entry.detail for entry in quarantined(dataset)}
    assert details["cat/copy of 01.png"] == "the same bytes as cat/01.png"
    assert "are labelled cat, dog: cat/02.png, dog/cat after all.png" in details["cat/02.png"]
    assert not set(reasons(dataset)) & {sample.path for sample in dataset.samples()}
    assert dataset.manifest.quarantined == 9


def test_copies_and_conflicts_are_not_bad_files(animals: Path, ingest) -> None:
    for number in range(10):
        shutil.copy(animals / "cat" / f"{number:02d}.png", animals / "cat" / f"copy {number}.png")
    shutil.copy(animals / "cat" / "20.png", animals / "dog" / "conflict.png")
    assert ingest(animals, "--max-bad-fraction", "0").manifest.quarantined == 12


def test_growth_keeps_every_image_in_its_split(animals: Path, ingest) -> None:
    before = {sample.id: sample.split for sample in ingest(animals, to="before").samples()}
    for number in range(40):
        Image.new("RGB", (16, 16), (number, 1, 2)).save(animals / "cat" / f"a new {number}.png")
    for file in sorted((animals / "dog").iterdir())[:5]:
        file.rename(file.with_name(f"renamed {file.name}"))
    after = {sample.id: sample.split for sample in ingest(animals, to="after").samples()}
    assert len(after) == len(before) + 40
    assert {image_id: after[image_id] for image_id in before} == before


def test_previous_assignments_hold_under_other_fractions(animals: Path, ingest, tmp_path: Path) -> None:
    before = {sample.id: sample.split for sample in ingest(animals, to="before").samples()}
    for number in range(40):
        Image.new("RGB", (16, 16), (number, 1, 2)).save(animals / "cat" / f"a new {number}.png")
    (animals / "dog" / "00.png").unlink()
    flags = ["--previous", str(tmp_path / "before"), "--val-fraction", "0.05", "--test-fraction", "0.9"]
    after = {sample.id: sample.split for sample in ingest(animals, *flags, to="after").samples()}
    kept = before.keys() & after.keys()
    assert len(kept) == 59
    assert {image_id: after[image_id] for image_id in kept} == {image_id: before[image_id] for image_id in kept}
    assert sum(after[image_id] == "test" for image_id in after.keys() - before.keys()) > 25
    report = read_report(tmp_path / "after-report")
    found = [report.row(name).value for name in ("added", "removed", "moved")]  # type: ignore[union-attr]
    assert found == [40, 1, 0]


def test_too_many_broken_files_are_refused_with_their_names(animals: Path, refused) -> None:
    (animals / "cat" / "00.png").write_bytes(b"text")
    (animals / "dog" / "01.png").write_bytes((animals / "dog" / "01.png").read_bytes()[:150])
    message = refused(animals)
    assert message.startswith("2 of 60 files cannot be used (not an image 1, truncated 1), more than ")
    assert "--max-bad-fraction 0.02: cat/00.png (not an image: " in message
    assert "dog/01.png (truncated: " in message


def test_a_class_without_images_after_decoding_is_refused(animals: Path, refused) -> None:
    (animals / "eel").mkdir()
    for number in range(30):
        (animals / "eel" / f"{number}.png").write_bytes(b"text %d" % number)
    message = refused(animals, "--max-bad-fraction", "0.5")
    assert message.startswith("1 class with too few images for the split: eel (train 0, val 0, test 0; left out 30, ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--val-fraction", "0.6", "--test-fraction", "0.4"], "--val-fraction 0.6 and --test-fraction 0.4 take 1 of"),
        (["--test-fraction", "0"], "--test-fraction: input should be greater than 0, got '0'"),
        (["--stored-size-px", "4"], "--stored-size-px: input should be greater than or equal to 8, got '4'"),
        (["--stored-size-px", "5000"], "--stored-size-px: input should be less than or equal to 4096, got '5000'"),
        (["--max-bad-fraction", "1.5"], "--max-bad-fraction: input should be less than or equal to 1, got '1.5'"),
        (["--previous", "/nowhere"], "there is no dataset at /nowhere"),
    ],
)
def test_bad_parameters_are_refused(animals: Path, refused, flags: list[str], message: str) -> None:
    assert refused(animals, *flags).startswith(message)
