"""Every file of a mixed source is in exactly one ledger, with a reason, and the counts add up."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from components.interchange.dataset import Dataset
from components.interchange.report import read_report
from tests.ingest.conftest import picture
from tests.quarantine import quarantined


def account(dataset: Dataset) -> dict[str, str]:
    """What became of every path; fails where one is twice in the ledgers, or the report counts otherwise."""
    taken = [(sample.path, sample.split) for sample in dataset.samples()]
    left = [(entry.path, entry.reason) for entry in quarantined(dataset)]
    assert len(dict(taken + left)) == len(taken + left)
    report = read_report(dataset.folder.with_name(f"{dataset.folder.name}-report"))
    values = {(row.name, row.of): row.value for row in report.rows}
    assert values["sources", ""] == len(taken) + len(left)
    assert values["quarantined", ""] == dataset.manifest.quarantined == len(left)
    assert values["images", "train"] + values["images", "val"] + values["images", "test"] == len(taken)  # type: ignore[operator]
    by_reason = [value for (name, of), value in values.items() if name == "quarantined" and of]
    assert sum(by_reason) == len(left)  # type: ignore[arg-type]
    return dict(taken + left)


def mixed(animals: Path) -> Path:
    cat, dog = animals / "cat", animals / "dog"
    (cat / "empty.png").touch()
    (cat / "half.png").write_bytes((cat / "00.png").read_bytes()[:200])
    (cat / "text.jpg").write_text("no picture")
    picture(1, 4, 4).save(cat / "small.png")
    picture(1, 100, 9).save(cat / "long.png")
    shutil.copy(cat / "01.png", cat / "01 copy.png")
    shutil.copy(cat / "02.png", dog / "02 cat.png")
    (animals / "beside.txt").write_text("beside the classes")
    scene = picture(7, 64, 48).resize((320, 240), Image.Resampling.BICUBIC)
    for quality in (90, 50):
        scene.save(dog / f"near {quality}.jpg", quality=quality)
    return animals


EXPECTED = {
    "cat/empty.png": "empty",
    "cat/half.png": "truncated",
    "cat/text.jpg": "not an image",
    "cat/small.png": "too small",
    "cat/long.png": "too elongated",
    "cat/01.png": "duplicate",
    "cat/02.png": "conflicting label",
    "dog/02 cat.png": "conflicting label",
    "beside.txt": "unlabelled",
}


def test_a_mixed_folder_is_accounted_for(animals: Path, ingest) -> None:
    mixed(animals)
    files = {file.relative_to(animals).as_posix() for file in animals.rglob("*") if file.is_file()}
    found = account(ingest(animals, "--max-bad-fraction", "0.1"))
    assert found.keys() == files
    assert {path: fate for path, fate in found.items() if fate not in ("train", "val", "test")} == EXPECTED


def test_a_mixed_metadata_folder_is_accounted_for(animals: Path, ingest) -> None:
    mixed(animals)
    files = sorted(file.relative_to(animals).as_posix() for file in animals.rglob("*") if file.is_file())
    rows = [{"file_name": name, "label": name[:3]} for name in files if name not in ("beside.txt", "dog/05.png")]
    rows += [{"file_name": "cat/nowhere.png", "label": "cat"}]
    rows[5]["label"] = " "
    (animals / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = account(ingest(animals, "--max-bad-fraction", "0.2"))
    assert found.keys() == {*files, "cat/nowhere.png"}
    left = {path: fate for path, fate in found.items() if fate not in ("train", "val", "test")}
    more = {"dog/05.png": "unlabelled", "cat/nowhere.png": "missing", rows[5]["file_name"]: "wrong label"}
    assert left == {**EXPECTED, **more}


def test_look_alikes_given_to_two_sides_are_accounted_for(animals: Path, ingest) -> None:
    mixed(animals)
    files = [file.relative_to(animals).as_posix() for file in sorted(animals.rglob("*/*")) if file.is_file()]
    given = {"dog/near 90.jpg": "train", "dog/near 50.jpg": "test"}
    lines = [f"{name},{name[:3]},{given.get(name, '')}" for name in files]
    (animals / "all.csv").write_text("\n".join(["image,label,split", *lines]))
    dataset = ingest(animals / "all.csv", "--max-bad-fraction", "0.1", "--stored-size-px", "40")
    found = account(dataset)
    assert found["dog/near 90.jpg"] == "near-duplicate"
    assert found["dog/near 50.jpg"] == "test"
    table = pq.read_table(dataset.folder / "quarantine.parquet").to_pylist()
    (near,) = [row for row in table if row["reason"] == "near-duplicate"]
    assert near["detail"].startswith("nearly the same as dog/near 50.jpg in test (")
