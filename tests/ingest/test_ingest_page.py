"""The picture report: it shows what the ledgers say, and warns of what spoils a training."""

import re
import shutil
from pathlib import Path

from PIL import Image

from components.interchange.report import read_report
from tests.ingest.conftest import picture


def test_the_page_shows_classes_pairs_and_what_was_left_out(animals: Path, ingest) -> None:
    for number in range(100):
        picture(5000 + number).save(animals / "dog" / f"more {number}.png")
    scene = picture(7, 64, 48).resize((320, 240), Image.Resampling.BICUBIC)
    scene.save(animals / "dog" / "near & dear.jpg", quality=90)
    scene.save(animals / "cat" / "near.jpg", quality=40)
    shutil.copy(animals / "cat" / "04.png", animals / "dog" / "conflict.png")
    (animals / "cat" / "<b>.png").write_bytes(b"no picture")
    folder = ingest(animals, "--stored-size-px", "40").folder.with_name("dataset-report")
    html = (folder / "report.html").read_text()
    assert "161 images of 2 classes; 3 of 164 files left out." in html
    for text in ("near &amp; dear.jpg", "cat/near.jpg", "dog/conflict.png", "cat/&lt;b&gt;.png", "achieved", "PNG"):
        assert text in html
    assert not re.search(r"<script|https?://", html)
    assert (
        html.count("data:image/jpeg;base64,") == 4 + 4 + 2 + 2 + 2
    )  # Two classes, a conflict, look-alikes, and the conflict among what was left out.
    report = read_report(folder)
    values = {(row.name, row.of): row.value for row in report.rows}
    assert values["near_duplicates", ""] == values["near_duplicates", "several labels"] == 1
    assert values["conflicting_labels", ""] == 1
    assert 4 < values["imbalance", ""] < 5  # type: ignore[operator]
    (warning,) = report.details["warnings"]
    assert "4.4 times the images of the smallest (over 3)" in warning and "--class-weights" in warning
    assert "4.4 times the images" in html


def test_a_balanced_source_without_copies_gives_no_warning(animals: Path, ingest) -> None:
    folder = ingest(animals).folder.with_name("dataset-report")
    assert read_report(folder).details["warnings"] == []
    assert "Worth a look" not in (folder / "report.html").read_text()
