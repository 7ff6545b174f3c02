"""The picture report: it shows what the ledgers say, and warns of what spoils a training."""

import io
import re
import shutil
import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from components.ingest.colour_profiles import profile_name
from components.interchange.pixels import glimpse
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
    assert html.count('<table class="words">') == 1 and "Images by class and split; the hash of each" in html
    assert not re.search(r"<script|https?://", html)
    assert (
        html.count("data:image/jpeg;base64,") == 4 + 4 + 2 + 2 + 2
    )  # Two classes, a conflict, look-alikes, and the conflict among what was left out.
    report = read_report(folder)
    values = {(row.name, row.of): row.value for row in report.rows}
    assert values["near_duplicates", ""] == values["near_duplicates", "several labels"] == 1
    assert values["conflicting_labels", ""] == 1
    assert 4 < values["imbalance", ""] < 5  # type: ignore[operator]
    warning, conflict = report.details["warnings"]
    assert conflict == (
        "1 picture under several labels: cat/04.png (cat) and dog/conflict.png (dog); 2 files left out for it. "
        "Give each one label."
    )
    assert "4.4 times the images of the smallest (over 3)" in warning and "--class-weights" in warning
    assert "4.4 times the images" in html


def test_files_of_a_wrong_shape_are_shown_where_they_decode(animals: Path, ingest) -> None:
    picture(1, 200, 20).save(animals / "cat" / "long.jpg")
    picture(2, 3, 3).save(animals / "dog" / "tiny.png")
    picture(3, 200, 20).save(animals / "dog" / "long and cut.png")
    cut = animals / "dog" / "long and cut.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    folder = ingest(animals, "--max-bad-fraction", "1").folder.with_name("dataset-report")
    left_out = (folder / "report.html").read_text().split("Left out</h2>")[1].split("<h2")[0]
    assert left_out.count("data:image/jpeg;base64,") == 2
    assert all(f"{name}</" in left_out for name in ("cat/long.jpg", "dog/tiny.png", "dog/long and cut.png"))


def test_many_copies_hide_neither_a_broken_file_nor_another_label(animals: Path, ingest) -> None:
    for number in range(60):
        shutil.copy(animals / "cat" / "00.png", animals / "cat" / f"a copy {number}.png")
        shutil.copy(animals / "dog" / "00.png", animals / "dog" / f"a copy {number}.png")
    shutil.copy(animals / "cat" / "00.png", animals / "dog" / "zz.png")
    (animals / "dog" / "broken.png").touch()
    html = (ingest(animals).folder.with_name("dataset-report") / "report.html").read_text()
    table = html.split('<table class="words">')[1].split("</table>")[0]
    assert table.count("<tr>") - 1 == 50 and table.count("<td>duplicate</td>") == 24
    assert "dog/broken.png" in table
    conflicts = html.split("One picture under several labels</h2>")[1].split("</section>")[0]
    assert "cat, left out" in conflicts and "dog, left out" in conflicts


def test_many_classes_are_folded_away(tmp_path: Path, ingest) -> None:
    for number in range(75):
        place = tmp_path / "source" / f"species {number // 3:02}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture(number, 12, 12).save(place)
    folder = ingest(tmp_path / "source", "--stored-size-px", "8", "--max-near-bits", "-1").folder
    before, _, behind = (folder.with_name("dataset-report") / "report.html").read_text().partition("<details")
    assert "asked for" in before and "species 24</" not in before
    assert "25 classes" in behind and "species 24</" in behind


def test_no_glimpse_is_taken_of_what_would_fill_the_memory() -> None:
    file = io.BytesIO()
    Image.new("1", (100_000, 400)).save(file, "PNG")
    assert glimpse(file.getvalue(), 64) is None
    file = io.BytesIO()
    Image.new("RGB", (3000, 30), "red").save(file, "PNG")
    pixels_HWC = glimpse(file.getvalue(), 64)
    assert pixels_HWC is not None and pixels_HWC.shape == (1, 64, 3) and pixels_HWC[0, 9].tolist() == [255, 0, 0]


def test_a_balanced_source_without_copies_gives_no_warning(animals: Path, ingest) -> None:
    folder = ingest(animals).folder.with_name("dataset-report")
    assert read_report(folder).details["warnings"] == []
    html = (folder / "report.html").read_text()
    assert "Worth a look" not in html and "colour profile" not in html
    assert not re.search(r"<tbody>\s*</tbody>", html) and html.count("<p>None.</p>") == 4


def test_colour_profiles_are_recorded_and_change_no_pixel(animals: Path, ingest) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    for name, icc in (("cat/00.png", srgb.tobytes()), ("cat/01.png", srgb.tobytes()), ("dog/02.png", b"<b>no profile")):
        Image.open(animals / name).save(animals / name, icc_profile=icc)
    found = ingest(animals)
    again = ingest(animals, "--reuse", str(found.folder), to="again")
    profiles = {sample.path: sample.icc for sample in found.samples() if sample.icc}
    assert set(profiles) == {"cat/00.png", "cat/01.png", "dog/02.png"}
    assert profiles["cat/00.png"] == "sRGB built-in" and profiles["dog/02.png"].startswith("unnamed (")
    assert again.digest() == found.digest()
    report = read_report(found.folder.with_name("dataset-report"))
    assert {row.of: row.value for row in report.rows if row.name == "icc_profile"} == {
        "sRGB built-in": 2,
        profiles["dog/02.png"]: 1,
    }
    assert "sRGB built-in" in (found.folder.with_name("dataset-report") / "report.html").read_text()


@given(st.binary(max_size=60), st.sampled_from([b"", b"desc", b"mluc"]))
def test_no_profile_is_trusted(content: bytes, kind: bytes) -> None:
    table = bytes(128) + struct.pack(">I4sII", 1, b"desc", 144, 4 + len(content)) + kind + content
    for profile in (content, bytes(128) + content, table):
        name = profile_name(profile)
        assert name is None or (0 < len(name) <= 60 and name.isprintable())


def test_profiles_of_version_2_have_ascii_names() -> None:
    tag = b"desc" + bytes(4) + struct.pack(">I", 10) + b"Adobe RGB\0"
    assert profile_name(bytes(128) + struct.pack(">I4sII", 1, b"desc", 144, len(tag)) + tag) == "Adobe RGB"
