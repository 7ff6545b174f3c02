"""Sources: folders and manifests, and the words of every refusal."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.quarantine import quarantined


def manifest(animals: Path, lines: list[str], name: str = "all.csv") -> Path:
    (animals / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return animals / name


def rows(animals: Path) -> list[tuple[str, str]]:
    files = sorted(animals.rglob("*.png"))
    return [(file.relative_to(animals).as_posix(), file.parent.name) for file in files]


def test_a_csv_names_the_same_images_as_the_folder(animals: Path, ingest) -> None:
    folder = ingest(animals, to="folder")
    lines = ["image,label", *(f"{path},{label}" for path, label in reversed(rows(animals)))]
    assert ingest(manifest(animals, lines), to="csv").digest() == folder.digest()


def test_a_parquet_manifest_with_columns_of_its_own_names(animals: Path, ingest) -> None:
    paths, labels = zip(*rows(animals), strict=True)
    kinds = [int(label == "dog") for label in labels]
    table = pa.table({"file name": [str(animals / path) for path in paths], "kind": kinds})
    pq.write_table(table, animals / "all.parquet")
    dataset = ingest(animals / "all.parquet", "--image-column", "file name", "--label-column", "kind")
    assert dataset.classes == ["0", "1"]
    assert dataset.samples()[0].path in paths


def test_labels_and_names_of_a_csv_stay_text(animals: Path, ingest) -> None:
    first = animals / "cat" / "00.png"
    first.rename(animals / 'a "quoted", ünïcode name.png')
    lines = [f"{path},{'007' if label == 'cat' else '1e3'},x" for path, label in rows(animals)[1:]]
    lines = ["image,label,other", *lines, '"a ""quoted"", ünïcode name.png",007,']
    dataset = ingest(manifest(animals, lines))
    assert dataset.classes == ["007", "1e3"]
    assert 'a "quoted", ünïcode name.png' in {sample.path for sample in dataset.samples()}


def test_a_quotation_mark_that_is_never_closed_is_named(animals: Path, refused) -> None:
    lines = [f"{path},{label}" for path, label in rows(animals)]
    assert len(refused(manifest(animals, ["image,label", 'cat/00.png,"cat', *lines]))) < 1200
    assert 'is a quotation mark (") never closed?' in refused(manifest(animals, ["image,label", 'a,"b', *lines * 4000]))


def test_a_given_split_wins_and_an_empty_one_is_chosen_by_hash(animals: Path, ingest) -> None:
    free = {sample.path: sample.split for sample in ingest(animals, to="free").samples()}
    other = {"train": "val", "val": "test", "test": "train"}
    given = {path: other[split] if "cat" in path else "" for path, split in free.items()}
    lines = ["image,label,split", *(f"{path},{label},{given[path]}" for path, label in rows(animals))]
    found = {sample.path: sample.split for sample in ingest(manifest(animals, lines)).samples()}
    assert found == {path: given[path] or free[path] for path in free}


def test_a_group_stays_together(animals: Path, ingest) -> None:
    groups = {path: f"herd {number % 15}" for number, (path, _) in enumerate(rows(animals))}
    lines = ["image,label,group", *(f"{path},{label},{groups[path]}" for path, label in rows(animals))]
    samples = ingest(manifest(animals, lines)).samples()
    assert {sample.path: sample.group for sample in samples} == groups
    sides = {(sample.group, sample.split) for sample in samples}
    assert len(sides) == 15
    assert {split for _, split in sides} == {"train", "val", "test"}


def test_a_missing_file_is_bad_and_named(animals: Path, ingest, refused, caplog: pytest.LogCaptureFixture) -> None:
    lines = ["image,label", *(f"{path},{label}" for path, label in rows(animals)), "cat/gone.png,cat"]
    source = manifest(animals, lines)
    assert [entry[:2] for entry in quarantined(ingest(source))] == [("cat/gone.png", "missing")]
    assert "left out: missing 1" in caplog.text
    message = refused(source, "--max-bad-fraction", "0")
    assert "1 of 61 files cannot be used (missing 1)" in message
    assert "cat/gone.png (missing: the source names a file that is not there)" in message


def test_a_manifest_on_a_disk_that_names_uris_is_told_so(animals: Path, refused) -> None:
    lines = ["image,label", *(f"s3://bucket/{path},{label}" for path, label in rows(animals))]
    assert "s3://bucket/cat/00.png (missing: a manifest on a disk names files on" in refused(manifest(animals, lines))


def test_a_row_twice_is_a_duplicate_and_twice_with_two_labels_a_conflict(animals: Path, ingest) -> None:
    lines = ["image,label", *(f"{path},{label}" for path, label in rows(animals))]
    lines += ["cat/00.png,cat", "cat/01.png,dog"]
    found = [entry[:2] for entry in quarantined(ingest(manifest(animals, lines)))]
    assert found == [
        ("cat/00.png", "duplicate"),
        ("cat/01.png", "conflicting label"),
        ("cat/01.png", "conflicting label"),
    ]


@pytest.mark.parametrize(
    ("lines", "flags", "message"),
    [
        (["image,lable", "a,b"], [], "all.csv has no column 'label'. Close: lable. Its columns: image, lable."),
        (["picture,label", "a,b"], ["--image-column", "pictures"], "has no column 'pictures'. Close: picture."),
        (["image;label", "a;b"], [], "has no column 'image'. Close: image;label."),
        (["image;label", "a;b"], [], "Expected text in UTF-8, a CSV with commas between its cells"),
        (["image,label,fold", "a,b,1"], ["--split-column", "folds"], "has no column 'folds'. Close: fold."),
        (["image,label", "a,b"], ["--group-column", "patient"], "has no column 'patient'."),
        (["image,label"], [], "there are no images in"),
        (["image,label", "a,x", "b,", ",y"], [], "1 rows of all.csv have nothing in column 'image': rows 3."),
        (
            ["image,label,split", "a,x,fold 1", "b,y,Train", "c,y,testset"],
            [],
            "column 'split' of all.csv holds 'fold 1', 'testset': expected train, training, val, valid, ",
        ),
        (["image,label", "a,x", "b"], [], "cannot be read as a manifest (CSV parse error"),
        (["image,label", "a,x", "b,x"], [], "has one class (x): a classifier needs at least two."),
    ],
)
def test_a_wrong_manifest_is_refused_in_words(
    animals: Path, refused, lines: list[str], flags: list[str], message: str
) -> None:
    assert message in refused(manifest(animals, lines), *flags)


def test_a_table_from_windows_is_told_what_to_change(animals: Path, refused) -> None:
    lines = ["image,label", *(f"{path},{label}".replace("/", "\\") for path, label in rows(animals))]
    assert "expected / between folders, found backslashes" in refused(manifest(animals, lines))
    (animals / "excel.csv").write_bytes("\r\n".join(lines).encode("utf-16"))
    assert 'excel.csv cannot be read as a manifest (it is UTF-16, as Excel\'s "Unicode text" is' in refused(
        animals / "excel.csv"
    )


def test_excels_utf8_is_read(animals: Path, ingest) -> None:
    folder = ingest(animals, to="folder")
    lines = ["image,label", *(f"{animals / path},{label}" for path, label in rows(animals)), ""]
    (animals / "excel.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert ingest(animals / "excel.csv").digest() == folder.digest()


def test_classes_in_the_one_subfolder_are_pointed_to(animals: Path, refused, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    animals.rename(tmp_path / "outer" / "animals")
    message = refused(tmp_path / "outer")
    assert f"subfolders (cat, dog), name it: --source {tmp_path / 'outer'}/animals" in message


def test_what_is_no_manifest_is_refused(animals: Path, refused) -> None:
    (animals / "empty.csv").touch()
    (animals / "latin.csv").write_bytes("image,label\nä,b\n".encode("latin-1"))
    (animals / "wrong.parquet").write_text("image,label\n")
    for name in ("empty.csv", "latin.csv", "wrong.parquet"):
        assert f"{animals / name} cannot be read as a manifest" in refused(animals / name)


def test_a_source_that_is_not_there_or_no_source(
    animals: Path, refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = (
        "there is no source at {}: expected a folder, a manifest (.csv, .jsonl, .parquet) or an archive (.zip, .tar, "
    )
    message += ".tar.gz, .tgz), on a local disk or at s3://BUCKET/PREFIX; see --source."
    assert refused(animals / "gone") == message.format(animals / "gone")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "Unable to locate credentials. Set AWS_ACCESS_KEY_ID" in refused("s3://bucket/images")
    assert "00.png is a file: expected a folder, a manifest" in refused(animals / "cat" / "00.png")


def test_folders_without_classes_are_refused(animals: Path, refused, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "has no subfolders: expected a subfolder a class" in refused(tmp_path / "none")
    assert "has no subfolders: expected a subfolder a class" in refused(animals / "cat")
    for label in ("a", "b"):
        (tmp_path / "empty" / label).mkdir(parents=True)
    assert refused(tmp_path / "empty").startswith(f"there are no images in {tmp_path / 'empty'}: its 2 subfolders")
    (animals / "eel").mkdir()
    assert "1 class of" in (message := refused(animals))
    assert "without images: eel. Fill or remove" in message


def test_one_class_is_refused(animals: Path, refused) -> None:
    for file in (animals / "dog").iterdir():
        file.unlink()
    (animals / "dog").rmdir()
    assert refused(animals) == f"{animals} has one class (cat): a classifier needs at least two."


def test_a_class_with_too_few_images_for_the_split_is_named(animals: Path, refused) -> None:
    for file in sorted((animals / "dog").iterdir())[2:]:
        file.unlink()
    message = refused(animals)
    assert message.startswith("1 class with too few images for the split: dog (train ")
    assert "Expected at least one in each of train, val and test: add images" in message


def test_a_name_with_line_breaks_stays_on_its_line(animals: Path, refused) -> None:
    (animals / "cat" / "a\nb\x1b[31m.png").touch()
    assert "cat/a\\nb\\x1b[31m.png (empty: the file has no bytes)" in refused(animals, "--max-bad-fraction", "0")


def test_what_was_left_out_of_a_class_that_is_too_small_is_told(animals: Path, refused) -> None:
    lines = [f"{path},{label}" for path, label in rows(animals)]
    lines += [f"cat/{number:02d}.png,tiger" for number in range(3)]
    message = refused(manifest(animals, ["image,label", *lines]))
    assert "tiger (train 0, val 0, test 0; left out 3, first cat/00.png: conflicting label, the same bytes" in message
    for file in sorted((animals / "dog").iterdir()):
        file.write_bytes(b"")
    message = refused(animals, "--max-bad-fraction", "1")
    assert "dog (train 0, val 0, test 0; left out 30, first dog/00.png: empty, the file has no bytes)" in message


def test_a_small_class_has_an_image_on_every_side(animals: Path, ingest, caplog: pytest.LogCaptureFixture) -> None:
    for file in sorted((animals / "dog").iterdir())[4:]:
        file.unlink()
    counts = ingest(animals).manifest.counts
    assert sorted(counts[split]["dog"] for split in ("train", "val", "test")) == [1, 1, 2]
    assert "1 of 2 classes are so small that the hash left a split" in caplog.text


def test_classes_that_are_spelt_alike_are_told(animals: Path, ingest, caplog: pytest.LogCaptureFixture) -> None:
    labels = ["caf\u00e9", "cafe\u0301", "Dog", "dog "]
    lines = [f'{path},"{labels[number % 4]}{number % 4}"' for number, (path, _) in enumerate(rows(animals))]
    ingest(manifest(animals, ["image,label", *lines]), to="apart")
    assert "Unicode form" not in caplog.text
    lines = [f"{path},{labels[number % 3]}" for number, (path, _) in enumerate(rows(animals))]
    ingest(manifest(animals, ["image,label", *lines]))
    assert "alone: 'cafe\u0301' and 'caf\u00e9'. If they are one, give it one name." in caplog.text


@pytest.mark.parametrize("first", ["train", "test"])
def test_of_an_image_in_rows_of_train_and_of_test_the_one_in_test_stays(animals: Path, ingest, first: str) -> None:
    sides = ["train", "val", "test"]
    rows = [f"{label}/{n:02d}.png,{label},{sides[n % 3]}" for label in ("cat", "dog") for n in range(30)]
    again = [f"{label}/{n:02d}.png,{label},train" for label in ("cat", "dog") for n in range(2, 30, 3)]
    lines = again + rows if first == "train" else rows + again
    (animals / "all.csv").write_text("\n".join(["image,label,split", *lines]))
    dataset = ingest(animals / "all.csv")
    assert [sum(by_class.values()) for _, by_class in sorted(dataset.manifest.counts.items())] == [20, 20, 20]
    assert dataset.manifest.quarantined == 20


def test_a_row_that_comes_twice_is_told(animals: Path, ingest) -> None:
    lines = [f"{path},{label}" for path, label in rows(animals)]
    found = quarantined(ingest(manifest(animals, ["image,label", *lines, lines[0]])))
    assert found == [("cat/00.png", "duplicate", "named again")]


def test_other_columns_of_a_manifest_stay_with_their_images(animals: Path, ingest) -> None:
    table = pa.table(
        {
            "image": [path for path, _ in rows(animals)],
            "label": [label for _, label in rows(animals)],
            "camera": [" left " if number % 2 else "" for number in range(60)],
            "gain": [float("nan"), *(number / 2 for number in range(59))],
            "seen": pa.array([0] * 60, pa.timestamp("s")),
            "thumbnail": [b"no text"] * 60,
        }
    )
    pq.write_table(table, animals / "all.parquet")
    attributes = {sample.path: sample.attributes for sample in ingest(animals / "all.parquet", to="parquet").samples()}
    assert attributes["cat/00.png"] == '{"seen": "1970-01-01 00:00:00"}'
    assert attributes["cat/01.png"] == '{"camera": "left", "gain": 0.0, "seen": "1970-01-01 00:00:00"}'
    lines = ["image,label,camera,camera,lens", *(f"{path},{label},a,b,050" for path, label in rows(animals))]
    assert {sample.attributes for sample in ingest(manifest(animals, lines)).samples()} == {'{"lens": "050"}'}
