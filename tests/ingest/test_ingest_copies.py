"""Copies, conflicts, look-alikes and frozen test sets, from the command line on real files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.interchange.artifact import file_digest
from components.interchange.dataset import Dataset
from components.interchange.report import read_report
from tests.ingest.conftest import picture
from tests.quarantine import quarantined


def found(dataset: Dataset) -> dict[str, tuple[str, str]]:
    return {entry.path: (entry.reason, entry.detail) for entry in quarantined(dataset)}


def test_equal_pixels_in_other_bytes_are_a_copy(animals: Path, ingest) -> None:
    Image.open(animals / "cat" / "03.png").save(animals / "cat" / "03 again.bmp")
    Image.open(animals / "cat" / "04.png").save(animals / "dog" / "04 again.bmp")
    assert found(ingest(animals)) == {
        "cat/03.png": ("duplicate", "the same pixels as cat/03 again.bmp"),
        "cat/04.png": ("conflicting label", "the same pixels are labelled cat, dog: cat/04.png, dog/04 again.bmp"),
        "dog/04 again.bmp": (
            "conflicting label",
            "the same pixels are labelled cat, dog: cat/04.png, dog/04 again.bmp",
        ),
    }


def test_of_a_conflict_the_first_is_kept_when_asked(animals: Path, ingest) -> None:
    shutil.copy(animals / "cat" / "04.png", animals / "dog" / "04 again.png")
    dataset = ingest(animals, "--on-conflict", "first")
    (said,) = read_report(dataset.folder.with_name("dataset-report")).details["warnings"]
    assert said.endswith("; one file of each is kept. Give each one label.")
    assert found(dataset) == {"dog/04 again.png": ("duplicate", "the same bytes as cat/04.png, labelled cat")}
    assert "cat/04.png" in {sample.path for sample in dataset.samples()}


def test_the_copy_in_test_is_the_one_that_stays(animals: Path, ingest) -> None:
    before = ingest(animals, to="before")
    in_test = next(sample for sample in before.samples() if sample.split == "test" and sample.label == "cat")
    shutil.copy(animals / in_test.path, animals / "cat" / "00 first by name.png")
    lines = [f"{sample.path},{sample.label},{sample.split}" for sample in before.samples()]
    (animals / "all.csv").write_text("\n".join(["image,label,split", "cat/00 first by name.png,cat,train", *lines]))
    dataset = ingest(animals / "all.csv")
    assert found(dataset) == {"cat/00 first by name.png": ("duplicate", f"the same bytes as {in_test.path}")}
    assert {sample.path: sample.split for sample in dataset.samples()}[in_test.path] == "test"


def test_a_copy_in_another_group_moves_nothing_that_was_there(animals: Path, ingest) -> None:
    names = [file.relative_to(animals).as_posix() for file in sorted(animals.rglob("*.png"))]
    lines = ["image,label,group", *(f"{name},{name[:3]},{'' if '/0' in name else name[-5]}" for name in names)]
    (animals / "all.csv").write_text("\n".join(lines))
    before = ingest(animals / "all.csv", to="before")
    side = {sample.path: sample.split for sample in before.samples()}
    group = next(sample.group for sample in before.samples() if sample.group and sample.split != side["cat/00.png"])
    shutil.copy(animals / "cat" / "00.png", animals / "a copy.png")
    (animals / "all.csv").write_text("\n".join([*lines, f"a copy.png,cat,{group}"]))
    after = ingest(animals / "all.csv", "--previous", str(before.folder), to="after")
    assert after.samples() == before.samples()
    assert found(after) == {"a copy.png": ("duplicate", "the same bytes as cat/00.png")}


def test_look_alikes_stand_on_one_side_and_are_no_fault(animals: Path, ingest) -> None:
    for number in range(20):
        scene = picture(7000 + number, 64, 48).resize((320, 240), Image.Resampling.BICUBIC)
        for quality in (95, 60, 30):
            scene.save(animals / "cat" / f"scene {number} {quality}.jpg", quality=quality)
    flags = ["--stored-size-px", "40", "--max-bad-fraction", "0"]
    side = {sample.path: sample.split for sample in ingest(animals, *flags).samples()}
    scenes = [{side[f"cat/scene {number} {quality}.jpg"] for quality in (95, 60, 30)} for number in range(20)]
    assert all(len(sides) == 1 for sides in scenes)
    assert len(set.union(*scenes)) == 3
    apart = {sample.path: sample.split for sample in ingest(animals, *flags, "--max-near-bits", "-1", to="x").samples()}
    assert any(len({apart[f"cat/scene {n} {quality}.jpg"] for quality in (95, 60, 30)}) > 1 for n in range(20))


def test_groups_that_look_alikes_join_to_a_crowd_are_told(animals: Path, ingest, refused, tmp_path: Path) -> None:
    """Look-alikes are few, but hold whole groups together: all of them stand where one hash says."""
    for number in range(8):
        scene = picture(8000 + number, 64, 48).resize((160, 120), Image.Resampling.BICUBIC)
        scene.save(animals / "cat" / f"scene {number}.jpg", quality=95)
        scene.save(animals / "dog" / f"scene {number}.jpg", quality=40)
    group = {f"{label}/scene {n}.jpg": f"lot{n + (label == 'dog')}" for label in ("cat", "dog") for n in range(8)}
    group |= {f"{label}/{n:02d}.png": f"lot{n // 2}" for label in ("cat", "dog") for n in range(18)}
    names = sorted(file.relative_to(animals).as_posix() for file in animals.rglob("*.*g"))
    lines = ["image,label,group", *(f"{name},{name[:3]},{group.get(name, '')}" for name in names)]
    (animals / "all.csv").write_text("\n".join(lines))

    ingest(animals / "all.csv")
    (said,) = read_report(tmp_path / "dataset-report").details["warnings"]
    assert said.startswith("52 images of 9 groups look alike, step by step, and stand on one side (train ")
    assert said.endswith("lower --max-near-bits.")
    ingest(animals / "all.csv", "--max-near-bits", "-1", to="apart")
    assert not read_report(tmp_path / "apart-report").details["warnings"]

    held = [line for line in lines if not line.endswith(",")]
    (animals / "held.csv").write_text("\n".join(held))
    why = refused(animals / "held.csv")
    assert "in 9 groups" in why and "52 images of 9 groups look alike" in why


def test_the_test_set_of_an_earlier_dataset_can_be_frozen(animals: Path, ingest, refused, tmp_path: Path) -> None:
    before = ingest(animals, to="before")
    test = {sample.id for sample in before.samples() if sample.split == "test"}
    for number in range(60):
        picture(9000 + number).save(animals / "dog" / f"new {number}.png")
    flags = ["--test-manifest", str(before.folder / "samples.parquet")]
    after = ingest(animals, *flags, to="after")
    assert {sample.id for sample in after.samples() if sample.split == "test"} == test
    assert len(after.samples()) == 120
    (tmp_path / "test.csv").write_text("image\ncat/01.png\ndog/none.png\n")
    gone = next(sample for sample in before.samples() if sample.split == "test")
    (animals / gone.path).rename(tmp_path / "gone.png")
    assert f"are not in the source: {gone.path}. Expected a whole test set" in refused(animals, *flags)
    picture(1).save(animals / gone.path)
    assert f"are not in the source: {gone.path} (other bytes). Expected" in refused(animals, *flags)
    (animals / gone.path).write_bytes((tmp_path / "gone.png").read_bytes()[:-40])
    assert f"are not in the source: {gone.path} (truncated). Expected" in refused(animals, *flags)
    (tmp_path / "gone.png").rename(animals / gone.path)
    message = refused(animals, "--test-manifest", str(tmp_path / "test.csv"))
    assert "1 of the 2 images of --test-manifest" in message and "are not in the source: dog/none.png" in message
    shutil.copy(animals / "cat" / "01.png", animals / "dog" / "a cat.png")
    (tmp_path / "test.csv").write_text("image\ncat/01.png\ndog/01.png\n")
    message = refused(animals, "--test-manifest", str(tmp_path / "test.csv"))
    assert "have several labels in the source: cat/01.png (cat) and dog/a cat.png (dog)." in message
    (animals / "dog" / "a cat.png").unlink()
    (tmp_path / "test.csv").write_text("image,split\ncat/01.png,\ndog/01.png,test\ndog/02.png,train\n")
    frozen = ingest(animals, "--test-manifest", str(tmp_path / "test.csv"), to="frozen")
    assert [s.path for s in frozen.samples() if s.split == "test"] == sorted(
        ["cat/01.png", "dog/01.png"], key=lambda path: file_digest(animals / path)
    )


def test_images_that_stay_beside_a_frozen_test_set_are_told(animals: Path, ingest, tmp_path: Path) -> None:
    before = ingest(animals, to="before")
    first, *others = sorted(sample.path for sample in before.samples() if sample.split == "test")
    (tmp_path / "test.csv").write_text(f"image\n{first}\n")
    ingest(animals, "--previous", str(before.folder), "--test-manifest", str(tmp_path / "test.csv"))
    (said,) = read_report(tmp_path / "dataset-report").details["warnings"]
    assert said.startswith(f"{len(others)} images that --test-manifest does not name stay in the test set")
    assert f"there before: {others[0]}, " in said


def test_a_test_manifest_may_be_some_lines_of_the_sources_own(animals: Path, ingest, refused, tmp_path: Path) -> None:
    """With a column `id` of the user's, and the same ways to write a path."""
    ways = ("./{}", f"{animals}/{{}}", "cat/../{}")
    names = [file.relative_to(animals).as_posix() for file in sorted(animals.rglob("*.png"))]
    rows = [f"{100 + n},{ways[n % 3].format(name)},{name[:3]}" for n, name in enumerate(names)]
    (animals / "all.csv").write_text("\n".join(["id,image,label", *rows]))
    (tmp_path / "test.csv").write_text("\n".join(["id,image,label", *rows[:3], *rows[40:43]]))
    dataset = ingest(animals / "all.csv", "--test-manifest", str(tmp_path / "test.csv"))
    assert {s.path for s in dataset.samples() if s.split == "test"} == {*names[:3], *names[40:43]}
    (tmp_path / "test.csv").write_text("id\n100\n")
    assert "has no column id (of sha256s), image or path" in refused(
        animals / "all.csv", "--test-manifest", str(tmp_path / "test.csv")
    )


def test_a_test_manifest_against_the_sources_splits_is_refused(animals: Path, refused, tmp_path: Path) -> None:
    names = [file.relative_to(animals).as_posix() for file in sorted(animals.rglob("*.png"))]
    lines = [f"{name},{name[:3]},{'train' if name == 'cat/01.png' else ''}" for name in names]
    (animals / "all.csv").write_text("\n".join(["image,label,split", *lines]))
    (tmp_path / "test.csv").write_text("image\ncat/01.png\ndog/03.png\n")
    message = refused(animals / "all.csv", "--test-manifest", str(tmp_path / "test.csv"))
    assert message.startswith("the source's splits and --test-manifest disagree on 1 images: cat/01.png.")


@pytest.mark.parametrize("number", range(3))
def test_flat_pictures_are_not_taken_for_look_alikes(animals: Path, ingest, number: int) -> None:
    for tone in range(40):
        colour = np.array([tone, 3, 200 - tone])[np.roll(np.arange(3), number)]
        Image.new("RGB", (16, 16), tuple(colour.tolist())).save(animals / "cat" / f"flat {tone}.png")
    dataset = ingest(animals)
    assert {sample.split for sample in dataset.samples() if "flat" in sample.path} == {"train", "val", "test"}
    assert dataset.manifest.quarantined == 0
