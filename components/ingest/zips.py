"""Members of a .zip archive."""

import stat
import zipfile
from pathlib import Path
from typing import NamedTuple

from components.ingest.files import BrokenFile, Problem, SourceFile, size_problem
from components.ingest.random_access import PlainFile, SeekableBytes
from components.interchange.image_files import BrokenImage

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
ENCRYPTED, UTF8_NAME, FROM_DOS = 0x1, 0x800, 0


class ZipMember(NamedTuple):
    """A file in a .zip."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def stamp(self) -> None:
        """None: members are read anew whenever the archive is."""

    def problem(self) -> Problem | None:
        """Encrypted, compressed in a way that is not read, empty, or too large."""
        if self.info.flag_bits & ENCRYPTED:
            return Problem("encrypted", "the member of the archive has a password")
        if self.info.compress_type not in METHODS:
            return Problem("unsupported", f"the archive compresses it by method {self.info.compress_type}")
        return size_problem(self.num_bytes)

    @property
    def num_bytes(self) -> int:
        """As the archive's index has it."""
        return self.info.file_size

    def read(self) -> bytes:
        """All bytes, their checksum compared."""
        size = self.num_bytes
        try:
            with self.archive.open(self.info) as stream:
                data = stream.read(size)  # Not all that comes out: a header may lie about what will.
        except Exception as error:  # Damaged members raise whatever the decompressor stumbles over.
            raise BrokenImage("unreadable", f"the member of the archive is damaged ({error})") from None
        if len(data) != size:
            raise BrokenImage("unreadable", f"the archive promises {size} bytes and holds {len(data)}")
        return data


def zip_members(path: Path) -> tuple[list[tuple[str, SourceFile]], list[str]]:
    """Names and files, and the names of folders. Raises various errors where the archive is damaged."""
    archive = zipfile.ZipFile(SeekableBytes(PlainFile(path)))
    infos = archive.infolist()
    files = [(_name(info), _file(archive, info)) for info in infos if not _is_folder(info)]
    return files, [_name(info) for info in infos if _is_folder(info)]


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return _name(info).endswith("/")


def _file(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> SourceFile:
    if stat.S_ISLNK(info.external_attr >> 16):
        return BrokenFile(Problem("not an image", "a link; links in .zip archives are not followed"))
    return ZipMember(archive, info)


def _name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & UTF8_NAME:  # zipfile took it for cp437, which hardly any archive is.
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = info.filename
    return name.replace("\\", "/") if info.create_system == FROM_DOS else name
