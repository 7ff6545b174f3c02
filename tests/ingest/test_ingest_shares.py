"""Shares of a source, read apart and joined: the dataset of one undivided run, or a refusal that says why not."""

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageEnhance

from components.ingest.manifests import Columns
from components.ingest.merge.spec import IngestMerge
from components.ingest.reading import as_they_lie
from components.ingest.share.spec import IngestShare
from components.ingest.shares import share_of
from components.ingest.sources import read_source
from components.ingest.spec import Ingest
from components.interchange.artifact import digest
from components.interchange.cli import main
from components.interchange.dataset import Dataset, open_dataset
from components.interchange.report import read_report
from components.interchange.step import Spec
from tests.ingest.conftest import picture

READING = ["--stored-size-px", "8"]
ENCODINGS = {
    "raw": ["--encoding", "raw"],
    "jpeg": ["--encoding", "jpeg"],
    "auto, too many": ["--raw-limit-gib", "1e-6"],
    "auto, few": [],
}
SETTLING = ["--max-bad-fraction", "1", "--val-fraction", "0.3", "--test-fraction", "0.3"]


def run(spec: type[Spec], source: Path | str, *flags: object) -> int:
    return main(spec, ["--source", str(source), *map(str, flags)])


def outputs(place: Path) -> list[object]:
    return ["--dataset", place, "--report", Path(f"{place}-report")]


def share(source: Path | str, place: Path, shard: str, *flags: str) -> Path:
    assert run(IngestShare, source, *READING, "--shard", shard, "--share", place, "--report", f"{place}-r", *flags) == 0
    return place


def named(shares: list[Path]) -> list[object]:
    return [word for folder in shares for word in ("--shares", folder)]


def write_extra(folder: Path, number: int, kind: str, of: int, label: str) -> None:
    """One more file: broken, or a copy, another encoding, or a look-alike of a picture that may bear another label."""
    path = folder / label / f"extra {number}.png"
    if kind == "broken":
        path.write_bytes(b"no picture" * of)
    elif kind == "cut":
        picture(of, 40, 40).save(path)
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "other bytes":
        picture(of).save(path.with_suffix(".tiff"))
    else:
        image = picture(of)
        (ImageEnhance.Brightness(image).enhance(0.9) if kind == "look-alike" else image).save(path)


EXTRAS = st.lists(
    st.tuples(
        st.sampled_from(["broken", "cut", "copy", "other bytes", "look-alike"]),
        st.integers(1, 12),
        st.sampled_from(["cat", "dog"]),
    ),
    max_size=8,
)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    extras=EXTRAS,
    num_shares=st.integers(1, 4),
    on_conflict=st.sampled_from(["quarantine", "first"]),
    encoding=st.sampled_from(["raw", "jpeg"]),
)
def test_shares_merge_to_the_bytes_of_one_run(
    extras: list[tuple[str, int, str]], num_shares: int, on_conflict: str, encoding: str
) -> None:
    with TemporaryDirectory() as folder:
        place, source = Path(folder), Path(folder) / "source"
        for label, first in (("cat", 1), ("dog", 101)):
            (source / label).mkdir(parents=True)
            for number in range(first, first + 12):
                picture(number).save(source / label / f"{number}.png")
        for number, (kind, of, label) in enumerate(extras):
            write_extra(source, number, kind, of, label)
        stored = ["--encoding", encoding]
        settling = [*SETTLING, "--on-conflict", on_conflict, *stored]
        one = run(Ingest, source, *READING, *settling, *outputs(place / "one"))
        numbers = range(num_shares, 0, -1)
        shards = [share(source, place / f"{k}", f"{k}/{num_shares}", *(stored * (k % 2))) for k in numbers]
        assert run(IngestMerge, source, *named(shards), *settling, *outputs(place / "merged")) == one == 0
        assert digest(place / "merged") == digest(place / "one")
        reports = [read_report(place / f"{name}-report") for name in ("one", "merged")]
        assert reports[0].rows == reports[1].rows and reports[0].details == reports[1].details
        pages = [(place / f"{name}-report" / "report.html").read_bytes() for name in ("one", "merged")]
        assert pages[0] == pages[1]


@pytest.fixture
def shares(animals: Path, tmp_path: Path) -> list[Path]:
    """Three shares of the animals."""
    return [share(animals, tmp_path / f"share {k}", f"{k}/3") for k in (1, 2, 3)]


def test_an_archive_is_read_as_it_lies(animals: Path, ingest, tmp_path: Path) -> None:
    source = tmp_path / "reversed.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        for file in sorted(animals.rglob("*.png"), reverse=True):
            archive.add(file, file.relative_to(animals))
    images = read_source(str(source), Columns("image", "label", "split", "group"), tmp_path).images
    assert as_they_lie(images, range(1, 60)) == list(reversed(range(1, 60)))
    assert ingest(source).digest() == ingest(animals, to="folder").digest()
    packed = [share(source, tmp_path / f"packed {k}", f"{k}/3") for k in (1, 2, 3)]
    assert run(IngestMerge, source, *named(packed), *outputs(tmp_path / "merged")) == 0
    assert digest(tmp_path / "merged") == digest(tmp_path / "folder")


@pytest.fixture
def refused(animals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`refused(shares)` expects exit code 2 of their merge with nothing left behind, and gives the message."""

    def merge(shares: list[Path], source: Path = animals) -> str:
        capsys.readouterr()
        assert run(IngestMerge, source, *named(shares), *outputs(tmp_path / "refused" / "dataset")) == 2
        assert not list((tmp_path / "refused").iterdir())
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        return shown.split("ingest_merge: ")[-1]

    return merge


def test_every_file_is_in_one_share_whatever_lies_beside_it(animals: Path, shares: list[Path]) -> None:
    cards = [json.loads((folder / "share.json").read_text()) for folder in shares]
    assert sum(card["images"] for card in cards) == 60 and all(card["images"] > 9 for card in cards)
    assert [share_of(f"cat/{number:02d}.png", 3) for number in range(8)] == [3, 3, 1, 2, 3, 1, 1, 2]


def test_shares_are_the_same_bytes_again_and_by_the_command_of_ingest(
    animals: Path, shares: list[Path], tmp_path: Path
) -> None:
    words = ["--shard", "2/3", "--source", animals, *READING, "--share", tmp_path / "again", "--report", tmp_path / "r"]
    subprocess.run([sys.executable, "-m", "components.ingest", *map(str, words)], check=True, capture_output=True)

    assert digest(tmp_path / "again") == digest(shares[1])


def test_shares_that_are_no_whole_are_refused(
    animals: Path, shares: list[Path], refused: Callable[..., str], tmp_path: Path
) -> None:
    assert "missing: 2/3" in refused([shares[0], shares[2]])
    twice = refused([*shares, shares[1]])
    assert f"more than one share of a number: 2: {shares[1]}, {shares[1]}" in twice
    assert "missing: 1/3, 3/3" in refused([shares[1]])
    divided = refused([shares[0], share(animals, tmp_path / "half", "2/2")])
    assert f"they are of divisions into 2, 3: 1/3 ({shares[0]}), 2/2 ({tmp_path / 'half'})" in divided
    assert "has no share.json" in refused([tmp_path / "animals"])


def test_shares_that_were_read_differently_are_refused(
    animals: Path, shares: list[Path], refused: Callable[..., str], tmp_path: Path
) -> None:
    other = share(animals, tmp_path / "other", "3/3", "--interpolation", "bilinear")
    card = other / "share.json"
    card.write_text(card.read_text().replace('"the version of pillow": "', '"the version of pillow": "0.'))
    (animals / "cat" / "new.png").write_bytes(b"")
    later = share(animals, tmp_path / "later", "2/3")
    found = refused([shares[0], later, other])
    assert f"--interpolation differs: 1/3 ({shares[0]}) bicubic, 2/3 ({later}) bicubic, 3/3 ({other}) bilinear" in found
    assert "the version of pillow differs: 1/3" in found and f"3/3 ({other}) 0." in found
    assert "the source differs: 1/3" in found and f"2/3 ({later}) 61 files" in found


def test_a_source_that_has_changed_since_is_refused(
    animals: Path, shares: list[Path], refused: Callable[..., str]
) -> None:
    (animals / "cat" / "29.png").rename(animals / "dog" / "moved.png")
    assert "it has 60 labelled files, and had 60" in refused(shares)


def test_a_damaged_share_is_refused(shares: list[Path], refused: Callable[..., str]) -> None:
    pixels = shares[0] / "pixels-00000.bin"
    whole = pixels.read_bytes()
    pixels.write_bytes(whole[:100] + bytes(1) + whole[101:])
    assert f"{pixels} is damaged at byte" in refused(shares)
    pixels.write_bytes(whole[:-9])
    assert "Was the share copied whole?" in refused(shares)
    shutil.copy(shares[1] / "images.parquet", shares[0] / "images.parquet")
    assert "does not hold the files that belong to it" in refused(shares)


def test_shares_of_jpegs_are_smaller_and_never_become_raw_pixels(
    animals: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    flags = ["--stored-size-px", "64", "--encoding"]
    of_jpegs, raw = (share(animals, tmp_path / name, "1/1", *flags, name) for name in ("jpeg", "raw"))
    sizes = [sum(file.stat().st_size for file in each.glob("pixels-*.bin")) for each in (of_jpegs, raw)]
    assert sizes[0] < sizes[1] / 2
    assert "the shares hold JPEGs, and the dataset is to have raw pixels" in refused([of_jpegs])


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_a_shard_that_is_none_is_refused(shard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(IngestShare, tmp_path, f"--shard={shard}", "--share", tmp_path / "s", "--report", tmp_path / "r") == 2
    assert f"--shard {shard}: expected K/N" in capsys.readouterr().err


def test_previous_and_a_frozen_test_set_belong_to_the_merge(
    animals: Path, shares: list[Path], ingest: Callable[..., Dataset], tmp_path: Path
) -> None:
    before = ingest(animals, "--test-fraction", "0.4", to="before")
    frozen = ["--previous", before.folder, "--test-manifest", before.folder / "samples.parquet"]
    one = ingest(animals, *map(str, frozen), to="one")
    assert run(IngestMerge, animals, *named(shares), *frozen, *outputs(tmp_path / "merged")) == 0
    assert digest(tmp_path / "merged") == one.digest()
    assert {one.id for one in one.samples() if one.split == "test"} == set(before.split("test").ids)


def test_large_shares_have_several_files(animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.ingest.shares.BYTES_PER_SHARD", 2000)
    parts = [share(animals, tmp_path / f"small {k}", f"{k}/2") for k in (1, 2)]
    assert len(list(parts[0].glob("pixels-*.bin"))) > 3
    assert run(IngestMerge, animals, *named(parts), *outputs(tmp_path / "merged")) == 0
    stored = open_dataset(tmp_path / "merged").split("train").images
    assert run(Ingest, animals, *READING, *outputs(tmp_path / "one")) == 0
    assert all(map(np.array_equal, stored, open_dataset(tmp_path / "one").split("train").images))
