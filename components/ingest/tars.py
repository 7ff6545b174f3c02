"""Members of a .tar archive, plain or compressed by gzip."""

import posixpath
import tarfile
from typing import NamedTuple

from components.ingest.files import BrokenFile, Problem, SourceFile, size_problem
from components.ingest.random_access import RandomAccess, SeekableBytes
from components.interchange.image_files import BrokenImage

MAX_LINKS = 8
AFTER_END_BYTES = 1 << 16  # Of zeros up to a full record, which is 10 KiB, and the first header of another archive.
USTAR = 257  # Where a header says so.
MAX_HEADER_BYTES = 1 << 17  # tarfile holds all of one in memory, and Python 3.11.9 and older search it for hours.


class TarMember(NamedTuple):
    """A file in a .tar."""

    content: RandomAccess
    offset: int
    num_bytes: int

    def stamp(self) -> None:
        """None: members are read anew whenever the archive is."""

    def problem(self) -> Problem | None:
        """Empty, or too large."""
        return size_problem(self.num_bytes)

    def read(self) -> bytes:
        """All bytes."""
        try:
            data = self.content.read_at(self.offset, self.num_bytes)
        except Exception as error:  # The archive was whole when it was listed.
            raise BrokenImage("unreadable", f"the archive changed while it was read ({error})") from None
        if len(data) != self.num_bytes:
            raise BrokenImage("unreadable", "the archive changed while it was read")
        return data


def tar_members(content: RandomAccess) -> tuple[list[tuple[str, SourceFile]], list[str]]:
    """Names and files, and the names of folders. Raises various errors where the archive is damaged or cut."""
    stream = SeekableBytes(content, MAX_HEADER_BYTES)
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        members = archive.getmembers()
        end = archive.offset  # tarfile takes a damaged header for the end, where there are blocks of zeros.
    marker = content.read_at(end, tarfile.BLOCKSIZE)
    if marker != bytes(tarfile.BLOCKSIZE):
        what = f"a damaged header at byte {end}" if marker else "no end: it was cut off, or never finished"
        raise tarfile.ReadError(f"the archive has {what}")
    if content.read_at(end, AFTER_END_BYTES).lstrip(b"\0")[USTAR:].startswith(b"ustar"):
        raise tarfile.ReadError("the file is several archives, one behind the other: unpack each, and pack all as one")
    by_name = {posixpath.normpath(member.name): member for member in members}
    files = [(member.name, _file(content, member, by_name)) for member in members if not member.isdir()]
    return files, [member.name for member in members if member.isdir()]


def _file(content: RandomAccess, member: tarfile.TarInfo, by_name: dict[str, tarfile.TarInfo]) -> SourceFile:
    for _ in range(MAX_LINKS):
        if not (member.issym() or member.islnk()):
            break
        folder = posixpath.dirname(member.name) if member.issym() else ""
        target = by_name.get(posixpath.normpath(posixpath.join(folder, member.linkname)))
        if target is None:
            return BrokenFile(Problem("missing", f"a link to {member.linkname}, which is not in the archive"))
        member = target
    if member.issparse():
        return BrokenFile(Problem("unsupported", "the archive holds it as a sparse file"))
    if not member.isreg():
        return BrokenFile(Problem("not an image", "this is no file"))
    return TarMember(content, member.offset_data, member.size)
