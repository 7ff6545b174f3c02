"""Ingest beside a champion: its images keep their sides, and what drifted since is told."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance

from components.interchange.artifact import digest
from components.interchange.blobs import open_blobs
from components.interchange.champion import ChampionRecord, model_prefix, swap_pointer
from components.interchange.dataset import Dataset
from components.interchange.lineage import FACTS_FILE, IMAGES_FILE, LineageImage, write_lineage
from components.interchange.report import Report, read_report
from tests.ingest.conftest import picture


def crown(
    folder: Path, dataset: Dataset, without: str = "", damage: Callable[[Path], object] = lambda model: None
) -> str:
    """A store whose champion has the lineage of a dataset."""
    manifest = dataset.manifest
    images = [LineageImage(one.id, one.label, one.split, one.group, one.phash) for one in dataset.samples()]
    facts = {"counts": manifest.counts, "statistics": manifest.statistics.model_dump(mode="json")}
    write_lineage(folder / "model", images, facts)
    if without:
        (folder / "model" / "lineage" / without).unlink()
    damage(folder / "model")
    name, blobs = digest(folder / "model"), open_blobs(str(folder / "store"))
    blobs.put_folder(model_prefix(name), folder / "model")
    record = ChampionRecord(
        digest=name, classifier_digest="c", dataset_digest=dataset.digest(), replaced=None, run_id=None, when="2020"
    )
    assert swap_pointer(blobs, "model", record, None)
    return blobs.uri


def report_of(dataset: Dataset) -> Report:
    return read_report(dataset.folder.with_name(f"{dataset.folder.name}-report"))


def drift(report: Report) -> dict[str, float]:
    return {row.of: float(row.value or 0) for row in report.rows if row.name == "drift"}


def test_images_keep_the_champions_sides_and_nothing_drifted(animals: Path, ingest, tmp_path: Path) -> None:
    before = ingest(animals, "--val-fraction", "0.4", "--test-fraction", "0.3", to="before")
    store = crown(tmp_path, before)
    after = ingest(animals, "--val-fraction", "0.4", "--test-fraction", "0.3", "--store", store, to="after")
    assert after.digest() == before.digest()
    others = ingest(animals, "--store", store, to="others")
    sides = {sample.id: sample.split for sample in before.samples()}
    assert {sample.id: sample.split for sample in others.samples()} == sides
    report = report_of(others)
    assert report.details["warnings"] == []
    assert drift(report) == pytest.approx(
        {
            "classes": 0,
            "share of cat": 0,
            **{f"{c} {what}": float(what == "std") for c in ("red", "green", "blue") for what in ("mean", "std")},
        }
    )
    assert "drift" not in {row.name for row in report_of(before).rows}
    ingest(animals, "--store", store, "--on-drift", "stop", "--drift", str(tmp_path / "word"), to="stopping")
    assert (tmp_path / "word").read_text() == "go_on"


def test_drift_of_classes_and_light_is_told(animals: Path, ingest, tmp_path: Path) -> None:
    store = crown(tmp_path, ingest(animals, to="before"))
    for file in sorted(animals.rglob("*.png")):
        ImageEnhance.Brightness(Image.open(file)).enhance(0.6).save(file)
    for file in sorted((animals / "dog").iterdir())[:15]:
        file.unlink()
    report = report_of(ingest(animals, "--store", store, to="after"))
    values = drift(report)
    assert values["classes"] == pytest.approx(1 / 2 - 1 / 3)
    assert values["green mean"] < -0.5
    classes, colours = report.details["warnings"]
    assert classes.startswith(
        "Since the champion, 17% of the images changed their class's share (over 10%), most that of cat (+17%):"
    )
    assert colours.startswith("Since the champion, the mean of ")
    assert report.details["drifted"] == [classes, colours] and not report.details["stopped"]
    for asked, word in (("warn", "go_on"), ("stop", "stop")):
        told = tmp_path / f"word-{asked}"
        words = ["--store", store, "--on-drift", asked, "--drift", str(told)]
        after = report_of(ingest(animals, *words, to=f"after-{asked}"))
        assert told.read_text() == word
        assert after.details["stopped"] == (asked == "stop")


@pytest.mark.parametrize(("light", "drifts"), [(1.0, False), (0.7, True)])
def test_a_few_new_images_in_another_light_are_told_and_another_mix_of_classes_is_no_drift(
    animals: Path, ingest, tmp_path: Path, light: float, drifts: bool
) -> None:
    for file in sorted((animals / "dog").iterdir()):  # Always darker than cats.
        ImageEnhance.Brightness(Image.open(file)).enhance(0.5).save(file)
    store = crown(tmp_path, ingest(animals, to="before"))
    for number in range(6):
        ImageEnhance.Brightness(picture(9000 + number)).enhance(0.5 * light).save(animals / "dog" / f"new {number}.png")
    told = ["--store", store, "--on-drift", "stop", "--drift", str(tmp_path / "word")]
    report = report_of(ingest(animals, *told, to="after"))
    assert abs(drift(report)["green mean"]) < 0.25
    of_new = report.row("drift", "green mean, new images")
    assert of_new is not None and of_new.n == 6 and (of_new.high < -0.25) == drifts
    assert len(report.details["warnings"]) == drifts and (tmp_path / "word").read_text() == (
        "stop" if drifts else "go_on"
    )
    assert all("In the 6 images that are new since the champion" in words for words in report.details["drifted"])


def test_images_with_another_label_than_the_champion_knew_are_told(animals: Path, ingest, tmp_path: Path) -> None:
    store = crown(tmp_path, ingest(animals, to="before"))
    for file in sorted((animals / "dog").iterdir())[:3]:
        file.rename(animals / "cat" / f"was a {file.name}")
    report = report_of(ingest(animals, "--store", store, to="after"))
    assert report.row("relabelled").value == 3  # type: ignore[union-attr]
    assert report.details["warnings"] == [
        "3 images had another label before (dog -> cat 3): were the labels mended, or mixed up?"
    ]


def test_a_champion_of_an_older_graft_is_passed_over_with_a_word(
    animals: Path, ingest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = ingest(animals, to="before")
    after = ingest(animals, "--store", crown(tmp_path, before, without=IMAGES_FILE), to="after")
    assert after.digest() == before.digest()
    assert "the champion was made by an older Graft" in caplog.text


def test_a_stop_at_drift_with_nothing_to_compare_with_says_so(
    animals: Path, ingest, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        ingest(animals, "--on-drift", "stop")
    assert "drift=not judged: there is no champion to compare with" in caplog.text


def damaged(model: Path, how: str) -> None:
    """Damage the lineage of a model that is not published yet: its list of files will be in order."""
    images, facts = model / "lineage" / IMAGES_FILE, model / "lineage" / FACTS_FILE
    table = pq.read_table(images)
    match how:
        case "cut":
            images.write_bytes(images.read_bytes()[:-40])
        case "column":
            pq.write_table(table.drop_columns(["phash"]), images)
        case "split":
            row = table.column_names.index("split")
            pq.write_table(table.set_column(row, "split", pa.array(["tset"] * len(table))), images)
        case "no facts":
            facts.unlink()
        case "no counts":
            facts.write_text(facts.read_text().replace('"counts"', '"count"'))
        case _:
            facts.write_text(facts.read_text()[:-40])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "images.parquet cannot be read as a ledger"),
        ("column", "images.parquet lacks phash"),
        ("split", "images.parquet is damaged: 60 of its 60 rows (rows 1, 2, 3, 4, 5 and 55 more) lack"),
        ("no facts", "the model's lineage/ has no lineage.json, though it has images.parquet"),
        ("no counts", "the model's lineage/lineage.json is damaged: counts (field required)"),
        ("cut facts", "the model's lineage/lineage.json is damaged: "),
    ],
)
def test_a_damaged_lineage_is_told_in_a_line(
    animals: Path, ingest, refused, tmp_path: Path, how: str, message: str
) -> None:
    store = crown(tmp_path, ingest(animals, to="before"), damage=lambda model: damaged(model, how))
    assert message in refused(animals, "--store", store)


@pytest.mark.parametrize("name", [IMAGES_FILE, FACTS_FILE])
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_lineage_that_was_damaged_in_the_store_is_told_in_a_line(
    animals: Path, ingest, refused, tmp_path: Path, name: str, how: str
) -> None:
    store = crown(tmp_path, ingest(animals, to="before"))
    [file] = Path(store.removeprefix("file://")).glob(f"models/*/lineage/{name}")
    file.unlink() if how == "gone" else file.write_bytes(file.read_bytes()[:-40])
    assert f"lineage/{name}" in refused(animals, "--store", store)
