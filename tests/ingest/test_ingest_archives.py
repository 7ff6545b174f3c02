"""Archives: the same dataset as their folder, and the words on each that is hostile or damaged."""

import gzip
import hashlib
import io
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.ingest.archives import open_archive
from components.ingest.random_access import GzipFile
from components.interchange.errors import BadInput
from tests.permissions import permissions_hold
from tests.quarantine import quarantined

KINDS = {"zip": ".zip", "tar": ".tar", "gztar": ".tar.gz"}


@pytest.fixture(autouse=True)
def _nothing_is_written_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The working folder stays empty, and so does the folder for temporary files."""
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    yield
    assert not list((tmp_path / "here").iterdir())
    assert not list((tmp_path / "temporary").iterdir())


def packed(folder: Path, kind: str, inside: str = "") -> Path:
    """An archive of a folder, its files at the top or inside a folder of that name."""
    name = str(folder.parent / f"packed {inside}")
    return Path(shutil.make_archive(name, kind, folder.parent if inside else folder, inside or None))


def tar_with(source: Path, *extra: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A .tar of a folder with further members."""
    path = packed(source, "tar")
    with tarfile.open(path, "a") as archive:
        for info, data in extra:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_with(source: Path, members: dict[str, bytes]) -> Path:
    path = packed(source, "zip")
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("inside", ["", "animals"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_the_dataset_of_its_folder(animals: Path, ingest, kind: str, inside: str) -> None:
    (animals / "dog" / "Ünïcode 七.png").write_bytes((animals / "dog" / "00.png").read_bytes())
    (animals / "dog" / "nested.zip").write_bytes(packed(animals / "cat", "zip").read_bytes())
    (animals / "cat" / "empty.png").touch()
    for litter in (".hidden/00.png", "__MACOSX/cat/00.png", "cat/.DS_Store", "README.txt"):
        (animals / litter).parent.mkdir(parents=True, exist_ok=True)
        (animals / litter).touch()
    folder = ingest(animals, "--max-bad-fraction", "0.1", to="folder")
    archive = packed(animals, kind, inside)
    assert archive.name.endswith(KINDS[kind])
    packed_dataset = ingest(archive, "--max-bad-fraction", "0.1", to="packed")
    assert packed_dataset.digest() == folder.digest()
    assert {entry.path: entry.reason for entry in quarantined(packed_dataset)} == {
        "dog/Ünïcode 七.png": "duplicate",
        "dog/nested.zip": "not an image",
        "cat/empty.png": "empty",
        "README.txt": "unlabelled",
        "packed .zip": "unlabelled",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_of_splits_and_metadata(animals: Path, ingest, tmp_path: Path, kind: str) -> None:
    for number, file in enumerate(sorted(animals.rglob("*.png"))):
        place = tmp_path / "splits" / ("train", "validation", "test")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        file.rename(place / f"{file.parent.name}{file.name}")
    for place in (tmp_path / "splits").iterdir():
        table = "".join(f"{file.name},{file.name[:3]}\n" for file in place.glob("*.png"))
        (place / "metadata.csv").write_text(f"file_name,label\n{table}")
    assert ingest(packed(tmp_path / "splits", kind), to="packed").digest() == ingest(tmp_path / "splits").digest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inside", ["", "animals"])
def test_a_manifest_inside_an_archive(animals: Path, ingest, kind: str, inside: str) -> None:
    lines = [f"{file.relative_to(animals)},{file.parent.name}" for file in sorted(animals.rglob("*.png"))]
    (animals / "all.csv").write_text("\n".join(["image,label", *lines, "cat/gone.png,cat"]))
    source = packed(animals, kind, inside) / inside / "all.csv"
    assert ingest(source, to="packed").digest() == ingest(animals / "all.csv", to="plain").digest()


def test_an_archive_that_needs_its_manifest_says_so(animals: Path, refused) -> None:
    (animals / "all.csv").touch()
    (animals / "dog").rename(animals / "cat" / "dog")
    archive = packed(animals, "zip", "animals")
    assert f"To read its manifest, name it: --source {archive}/animals/all.csv" in refused(archive)
    assert "gone.csv cannot be read as a manifest (missing: " in refused(archive / "gone.csv")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["/abs.png", "../up.png", "cat/../../up.png", "C:\\x.png", "dog/.."])
def test_members_that_lead_out_are_quarantined(animals: Path, ingest, kind: str, name: str) -> None:
    path = zip_with(animals, {name: b"x"}) if kind == "zip" else tar_with(animals, (tarfile.TarInfo(name), b"x"))
    dataset = ingest(path)
    assert [entry[:2] for entry in quarantined(dataset)] == [(name, "unsafe name")]
    assert len(dataset.samples()) == 60


def test_names_that_no_disk_takes_are_read(animals: Path, ingest, tmp_path: Path) -> None:
    """An original keeps its file's suffix, where it is one."""
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for image in sorted(animals.rglob("*.png")):
            archive.write(image, f"{image.parent.name}/{image.stem}.{'x' * 300}")
    originals = ingest(path).originals()
    assert originals and {one.suffix for one in originals.values()} == {""}


def test_links_in_a_tar_stay_inside(animals: Path, ingest) -> None:
    (animals / "dog" / "00.png").rename(animals / "dog" / "real.png")
    links = {
        "dog/hard.png": (tarfile.LNKTYPE, "cat/../dog/real.png"),
        "dog/soft.png": (tarfile.SYMTYPE, "real.png"),
        "dog/out.png": (tarfile.SYMTYPE, "/etc/hostname"),
        "dog/up.png": (tarfile.SYMTYPE, "../../x.png"),
        "dog/loop.png": (tarfile.SYMTYPE, "loop.png"),
        "dog/pipe.png": (tarfile.FIFOTYPE, ""),
        "dog/disk.png": (tarfile.BLKTYPE, ""),
    }
    extra = []
    for name, (kind, target) in links.items():
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        extra.append((info, b""))
    found = quarantined(ingest(tar_with(animals, *extra), "--max-bad-fraction", "0.1"))
    assert {entry.path: entry.reason for entry in found} == {
        "dog/real.png": "duplicate",
        "dog/soft.png": "duplicate",
        "dog/out.png": "missing",
        "dog/up.png": "missing",
        "dog/loop.png": "not an image",
        "dog/pipe.png": "not an image",
        "dog/disk.png": "not an image",
    }


def test_a_header_of_a_tar_beyond_all_bounds_is_refused(animals: Path, refused) -> None:
    """A GiB of it is a MB in a .tar.gz; digits take some versions of Python hours."""
    header = tarfile.TarInfo("about the next member")
    header.type = tarfile.XHDTYPE
    path = tar_with(animals, (header, b"0" * 1_000_000))
    assert "cannot be read as an archive (a header of 1,000,448 bytes, expected at most" in refused(path)


def test_a_link_in_a_zip_is_not_followed(animals: Path, ingest) -> None:
    path = packed(animals, "zip")
    info = zipfile.ZipInfo("cat/link.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/hostname")
    assert [entry[:2] for entry in quarantined(ingest(path))] == [("cat/link.png", "not an image")]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_both_quarantined(animals: Path, ingest, kind: str) -> None:
    again = (animals / "dog" / "07.png").read_bytes()
    name = "cat/./07.png"
    path = zip_with(animals, {name: again}) if kind == "zip" else tar_with(animals, (tarfile.TarInfo(name), again))
    dataset = ingest(path, "--max-bad-fraction", "0.1")
    assert [entry[:2] for entry in quarantined(dataset)] == [("cat/07.png", "ambiguous name")] * 2
    assert len(dataset.samples()) == 59


def zip_patched(path: Path, name: str, offset_local: int, offset_central: int, value: bytes) -> None:
    """Overwrite a field of a member's two headers."""
    data = bytearray(path.read_bytes())
    local = data.index(name.encode()) - 30
    central = data.rindex(name.encode()) - 46
    data[local + offset_local : local + offset_local + len(value)] = value
    data[central + offset_central : central + offset_central + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("offsets", "value", "reason"),
    [
        ((6, 8), b"\x01", "encrypted"),
        ((8, 10), b"\x63", "unsupported"),
        ((14, 16), b"\0\0\0\0", "unreadable"),
        ((22, 24), struct.pack("<I", 10_000), "unreadable"),
        ((22, 24), struct.pack("<I", 10), "unreadable"),
        ((22, 24), struct.pack("<I", 0xFFFF_FFF0), "too large"),
    ],
)
def test_a_member_of_a_zip_that_cannot_be_read_is_quarantined(
    animals: Path, ingest, offsets: tuple[int, int], value: bytes, reason: str
) -> None:
    path = packed(animals, "zip")
    zip_patched(path, "cat/07.png", *offsets, value)
    assert [entry[:2] for entry in quarantined(ingest(path))] == [("cat/07.png", reason)]


def test_a_zip_of_encrypted_members_is_refused(animals: Path, refused) -> None:
    path = packed(animals, "zip")
    for file in animals.rglob("*.png"):
        zip_patched(path, file.relative_to(animals).as_posix(), 6, 8, b"\x01")
    assert "60 of 60 files cannot be used (encrypted 60)" in refused(path)


def test_names_of_windows_and_of_unmarked_utf8(animals: Path, ingest, tmp_path: Path) -> None:
    path = tmp_path / "windows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(animals.rglob("*.png")):
            info = zipfile.ZipInfo(f"tiere\\{file.parent.name}\\{file.name}")
            info.create_system = 0
            archive.writestr(info, file.read_bytes())
    assert ingest(path).digest() == ingest(animals, to="folder").digest()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tiere/cat/??.png", (animals / "cat" / "00.png").read_bytes())
    path.write_bytes(path.read_bytes().replace(b"??.png", "ü.png".encode()))
    assert [entry.path for entry in quarantined(ingest(path, to="utf8"))] == ["cat/ü.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_anywhere_is_refused(animals: Path, kind: str) -> None:
    path = packed(animals, kind)
    data = path.read_bytes()
    if kind == "tar":
        data = data.rstrip(b"\0")  # Padding, and the blocks that mark the end.
    for kept in (0, 1, 100, 5_000, len(data) // 2, len(data) - 1_000, len(data) - 1):
        path.write_bytes(data[:kept])
        with pytest.raises(BadInput, match="cannot be read as an archive"):
            open_archive(path)


def test_a_tar_cut_between_members_or_damaged_inside_is_refused(animals: Path, refused) -> None:
    path = packed(animals, "tar")
    with tarfile.open(path) as archive:
        member = archive.getmembers()[30]
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: member.offset])
    assert "the archive has no end: it was cut off" in refused(path)
    data[member.offset] ^= 0xFF
    path.write_bytes(data)
    assert f"the archive has a damaged header at byte {member.offset}" in refused(path)


@pytest.mark.parametrize("kind", ["tar", "gztar"])
def test_two_tars_in_one_file_are_refused(animals: Path, refused, kind: str) -> None:
    """tar itself would pass over the second."""
    path = packed(animals, kind)
    path.write_bytes(path.read_bytes() + packed(animals / "dog", kind).read_bytes())
    assert "the file is several archives, one behind the other: unpack each" in refused(path)


def test_an_archive_under_the_name_of_another_kind_is_told(animals: Path, refused) -> None:
    for kind, suffix, found in (("bztar", "tar.gz", "compressed by bzip2"), ("xztar", "tgz", "compressed by xz"),
                                ("gztar", "tar", "compressed by gzip"), ("tar", "tgz", "a tar archive")):  # fmt: skip
        path = packed(animals, kind).rename(animals.parent / f"renamed.{suffix}")
        assert f"it seems to be {found}; is the copy complete?" in refused(path)


def test_every_flipped_byte_of_a_gz_is_noticed(animals: Path) -> None:
    path = packed(animals, "gztar")
    data = path.read_bytes()
    for position in np.random.default_rng(0).integers(10, len(data), 40):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match="cannot be read as an archive"):
            open_archive(path)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz"])
def test_what_is_no_archive_is_refused(animals: Path, refused, suffix: str) -> None:
    path = animals / f"wrong{suffix}"
    path.write_bytes((animals / "cat" / "00.png").read_bytes())
    assert "cannot be read as an archive (" in refused(path)


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_that_may_not_be_read_is_not_called_damaged(animals: Path, refused, kind: str) -> None:
    path = packed(animals, kind)
    path.chmod(0o000)
    with permissions_hold():
        assert refused(path).startswith(f"{path}: Permission denied. Whoever runs this must be allowed to read")


def test_archives_of_other_kinds_and_of_archives_are_refused(animals: Path, refused, tmp_path: Path) -> None:
    (tmp_path / "a.7z").touch()
    assert "a.7z is a file: expected a folder, a manifest" in refused(tmp_path / "a.7z")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(packed(animals, "zip"), "inner.zip")
    assert f"{outer} has no subfolders" in refused(outer)


@pytest.mark.parametrize("spacing", [1, 100_000, 1 << 30])
def test_any_part_of_a_gz_of_several_members(tmp_path: Path, spacing: int) -> None:
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 9, 700_000, dtype=np.uint8).tobytes()
    path = tmp_path / "parts.gz"
    path.write_bytes(gzip.compress(plain[:300_000]) + gzip.compress(plain[300_000:]) + bytes(70_000))
    content = GzipFile(path, spacing)
    assert content.num_bytes == len(plain)
    for offset, size in [(0, 10), (299_990, 20), (699_990, 100), (0, 700_000), *rng.integers(0, 350_000, (20, 2))]:
        found, expected = (
            hashlib.sha256(d).digest() for d in (content.read_at(offset, size), plain[offset : offset + size])
        )
        assert found == expected


def test_a_gz_read_from_its_start_to_its_end_is_unpacked_once(tmp_path: Path) -> None:
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    plain = np.random.default_rng(0).bytes(3_000_000)
    path = tmp_path / "parts.gz"
    path.write_bytes(gzip.compress(plain, 1))
    content, before = GzipFile(path, 1 << 30), bytes_read()
    assert b"".join(content.read_at(offset, 10_000) for offset in range(0, len(plain), 10_000)) == plain
    assert bytes_read() - before < 5 * len(plain)
