"""The corpus of hostile and odd files through folder and archives: nothing crashes, each is accounted for."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.ingest.manifests import Columns, read_manifest
from components.ingest.sources import read_source
from components.interchange.errors import BadInput
from components.interchange.image_files import BrokenImage
from components.interchange.pixels import decode_short
from tests.ingest.test_ingest_ledger import account
from tests.odd_files import TAKEN, Corpus, add_what_only_a_disk_has, packed, picture, write_corpus

# Pillow warns of EXIF that it passes over, and of how animations are closed.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:.*EXIF", "ignore::UserWarning:PIL")
ALL_BAD = ("--max-bad-fraction", "1")
EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010F] = 6, "a camera"
SEEDS = [packed(picture(1, 40, 32), kind, exif=EXIF) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
SEEDS += [packed(picture(1, 40, 32), kind) for kind in ("JPEG", "GIF", "BMP", "PPM")]


def held(found: dict[str, str], expected: Corpus) -> None:
    fates = {path: TAKEN if fate in ("train", "val", "test") else fate for path, fate in found.items()}
    wrong = {path: (fates.get(path), fate) for path, fate in expected.items() if fates.get(path) not in fate.split("|")}
    assert not wrong
    assert fates.keys() == expected.keys()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder: whatever a member's name leads to would land here."""
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere" / "deep")
    return tmp_path / "elsewhere"


def untouched(elsewhere: Path) -> bool:
    return [path.name for path in elsewhere.rglob("*")] == ["deep"]


def test_a_folder_of_odd_files(tmp_path: Path, ingest, elsewhere: Path) -> None:
    expected = write_corpus(tmp_path / "odd")
    assert len(expected) - 80 >= 60
    expected |= add_what_only_a_disk_has(tmp_path / "odd")
    before = sorted((tmp_path / "odd" / "plain").iterdir())
    held(account(ingest(tmp_path / "odd", *ALL_BAD)), expected)
    assert sorted((tmp_path / "odd" / "plain").iterdir()) == before
    assert untouched(elsewhere)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Corpus]:
    """The files by path, and what becomes of each."""
    folder = tmp_path_factory.mktemp("corpus") / "odd"
    expected = write_corpus(folder)
    return {path: (folder / path).read_bytes() for path in expected}, expected


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_of_odd_files(
    tmp_path: Path, ingest, elsewhere: Path, corpus: tuple[dict[str, bytes], Corpus], kind: str
) -> None:
    files, expected = corpus
    hostile = {"../../escaped.png": "unsafe name", "/tmp/graft absolute.png": "unsafe name"}
    files = files | {path: packed(picture(30 + number), "PNG") for number, path in enumerate(hostile)}
    archive = tmp_path / f"odd.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packing:
            for path, data in files.items():
                packing.writestr(path, data)
    else:
        how: dict[str, int] = {"compresslevel": 1} if kind == "tar.gz" else {}
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w", **how) as packing:  # type: ignore[call-overload]
            for path, data in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(data)
                packing.addfile(member, io.BytesIO(data))
    held(account(ingest(archive, *ALL_BAD)), {**expected, **hostile})
    assert untouched(elsewhere)
    assert not Path("/tmp/graft absolute.png").exists()


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=20),
    cut=st.none() | st.integers(0, 4000),
)
def test_damaged_bytes_are_decoded_or_refused_in_words(
    data: bytes, changes: list[tuple[int, int]], cut: int | None
) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        decoded = decode_short(bytes(damaged[:cut]), 16, "bicubic")
    except BrokenImage as broken:
        assert broken.reason and broken.detail
    else:
        assert min(decoded.image.size) == 16 and decoded.image.mode == "RGB"


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"image,label\n{text}".encode()))
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_any_bytes_are_a_manifest_or_refused_in_words(suffix: str, data: bytes) -> None:
    try:
        rows = read_manifest(f"all.{suffix}", data, Columns("image", "label", "split", "group"))
    except BadInput as error:
        assert f"all.{suffix}" in str(error)
    else:
        assert all(row.image for row in rows)


@pytest.mark.slow
def test_a_million_rows_are_listed(tmp_path: Path) -> None:
    lines = ["image,label,camera", *(f"a/{number}.png,{'ab'[number % 2]},{number % 7}" for number in range(1_000_000))]
    (tmp_path / "all.csv").write_text("\n".join(lines))
    found = read_source(str(tmp_path / "all.csv"), Columns("image", "label", "split", "group"), tmp_path)
    assert len(found.images) == 1_000_000
    assert found.images[0] == found.images[0]._replace(path="a/0.png", label="a", attributes='{"camera": "0"}')
