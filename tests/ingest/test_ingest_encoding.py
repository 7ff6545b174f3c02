"""Raw or JPEG: what is chosen, that the choice is the same however it comes about, and what the report says of it."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from conformal_clip_data import textile_simulated_root

from components.interchange.artifact import digest
from components.interchange.dataset import SPLITS
from components.interchange.report import read_report


def test_few_images_are_stored_raw(animals: Path, ingest) -> None:
    dataset = ingest(animals)
    report = read_report(dataset.folder.with_name("dataset-report"))
    assert dataset.manifest.encoding == "raw"
    num_bytes = sum(image.nbytes for name in SPLITS for image in dataset.split(name).images)
    assert {(row.name, row.of): row.value for row in report.rows if row.name.endswith("_bytes")} == {
        ("stored_bytes", "raw"): num_bytes,
        ("raw_bytes", ""): num_bytes,
    }
    assert report.row("pixel_difference") is None
    assert report.details["storage"] == [
        "Raw pixels, the fastest to train from: 0.0124 MiB of pixels are within --raw-limit-gib 4. "
        f"{num_bytes:,} bytes."
    ]


def test_jpeg_keeps_the_images_but_for_the_difference_that_the_report_tells(animals: Path, ingest) -> None:
    raw = ingest(animals, "--stored-size-px", "40", to="raw")
    jpeg = ingest(animals, "--stored-size-px", "40", "--encoding", "jpeg", to="jpeg")
    assert (raw.manifest.encoding, jpeg.manifest.encoding) == ("raw", "jpeg")
    assert raw.manifest.digests == jpeg.manifest.digests
    assert raw.manifest.statistics == jpeg.manifest.statistics
    assert raw.samples() == jpeg.samples()
    differences = {}
    for name in SPLITS:
        before, after = raw.split(name), jpeg.split(name)
        assert before.ids == after.ids
        assert before.labels_N.tolist() == after.labels_N.tolist()
        pairs = zip(before.images, after.images, strict=True)
        differences[name] = np.array([np.abs(one.astype(int) - other).mean() for one, other in pairs])
        assert 0 < differences[name].mean() < 8  # Coloured noise, the worst there is.
    report = read_report(jpeg.folder.with_name("jpeg-report"))
    row = report.row("pixel_difference")
    assert row is not None and row.n == len(differences["test"])
    assert row.value == pytest.approx(differences["test"].mean())
    stored = report.row("stored_bytes", "jpeg")
    splits = [jpeg.split(name).images for name in SPLITS]
    assert stored is not None
    assert stored.value == sum(len(images.data(row)) for images in splits for row in range(len(images)))
    page = (jpeg.folder.with_name("jpeg-report") / "report.html").read_text()
    words = page.replace("<code>", "").replace("</code>", "")  # Around flags.
    assert all(sentence in words for sentence in report.details["storage"])


def test_above_the_limit_auto_is_jpeg_with_the_same_bytes_whoever_came_first(animals: Path, ingest) -> None:
    asked = ingest(animals, "--encoding", "jpeg", to="asked")
    limit = ["--raw-limit-gib", "0.000005"]  # 5,368 bytes: about 25 of the 60 images.
    found = [ingest(animals, *limit, to="two")]
    if sys.platform == "linux":
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            found.append(ingest(animals, *limit, to="one"))
        finally:
            os.sched_setaffinity(0, cores)
    assert {dataset.digest() for dataset in found} == {asked.digest()}
    reports = [read_report(dataset.folder.with_name(f"{dataset.folder.name}-report")) for dataset in found]
    assert all("over --raw-limit-gib 5e-06" in report.details["storage"][0] for report in reports)
    assert len({digest(dataset.folder.with_name(f"{dataset.folder.name}-report")) for dataset in found}) == 1


def test_raw_asked_for_stays_raw_above_the_limit(animals: Path, ingest) -> None:
    assert ingest(animals, "--encoding", "raw", "--raw-limit-gib", "0.000005").manifest.encoding == "raw"


def test_jpeg_of_photographs_is_a_fourth_of_raw_and_differs_by_less_than_two_of_255(ingest, tmp_path: Path) -> None:
    table = ["image,label,split"]
    for folder in sorted(Path(str(textile_simulated_root())).iterdir()):
        for number, file in enumerate(sorted(folder.glob("*.jpg"))[:6]):
            table.append(f"{file},{folder.name},{SPLITS[number // 2]}")
    (tmp_path / "fabric.csv").write_text("\n".join(table))
    dataset = ingest(tmp_path / "fabric.csv", "--stored-size-px", "256", "--encoding", "jpeg", "--max-near-bits", "-1")
    report = read_report(dataset.folder.with_name("dataset-report"))
    values = {row.name: row.value for row in report.rows}
    assert values["raw_bytes"] > 4 * values["stored_bytes"]
    assert 0 < values["pixel_difference"] < 2
