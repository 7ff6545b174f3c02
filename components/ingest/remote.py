"""Sources on S3: a prefix as a tree of its objects, fetched many at a time, each as it was listed or not at all."""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from components.ingest.files import MISSING, BrokenFile, Problem, SourceFile, Stamp, size_problem
from components.ingest.layouts import SourceImage
from components.ingest.parallel import in_order
from components.ingest.trees import Entry, ListedTree
from components.interchange.image_files import BrokenImage
from components.interchange.progress import progress
from components.interchange.s3_objects import SCHEME, Bucket, ObjectChanged, S3Object, bucket_and_key
from components.interchange.s3_requests import IN_FLIGHT

ELSEWHERE = (SCHEME, "../")  # How names of objects begin that lie outside the source's prefix.


class S3File(NamedTuple):
    """An object of a listing."""

    bucket: Bucket
    listed: S3Object

    def stamp(self) -> Stamp:
        """By the ETag of the listing; only an object that still has it is read."""
        return Stamp(f"{SCHEME}{self.bucket.name}/{self.listed.key}", self.listed.num_bytes, self.listed.tag)

    @property
    def num_bytes(self) -> int:
        """As listed."""
        return self.listed.num_bytes

    def problem(self) -> Problem | None:
        """Empty, or too large."""
        return size_problem(self.num_bytes)

    def read(self) -> bytes:
        """All bytes; `changed` where they are no longer those that were listed."""
        try:
            return self.bucket.read(self.listed)
        except ObjectChanged as error:
            raise BrokenImage("changed", f"s3://{self.bucket.name}/{self.listed.key}: {error}") from None


class FetchedFile(NamedTuple):
    """A file whose bytes are here already."""

    data: bytes

    def stamp(self) -> None:
        """It is no longer asked for."""

    @property
    def num_bytes(self) -> int:
        """As many as are here."""
        return len(self.data)

    def problem(self) -> Problem | None:
        """Nothing: it was read."""
        return None

    def read(self) -> bytes:
        """All bytes."""
        return self.data


class S3Tree(ListedTree):
    """The objects under a prefix. A manifest may also name objects elsewhere: `../key` or `s3://bucket/key`."""

    def __init__(self, bucket: Bucket, prefix: str, objects: Sequence[S3Object] | None = None) -> None:
        """`objects` are those under the prefix, where they are listed already."""
        inside = f"{prefix}/" if prefix else ""
        found = [one for one in (bucket.objects(inside) if objects is None else objects) if not one.key.endswith("/")]
        super().__init__(
            f"{SCHEME}{bucket.name}/{prefix}".rstrip("/"),
            [Entry(one.key.removeprefix(inside), S3File(bucket, one)) for one in found],
        )
        self._buckets, self._bucket, self._prefix = {bucket.name: bucket}, bucket, prefix

    def entry(self, path: str) -> Entry:
        """An object of the listing, or one elsewhere."""
        name = _name(path)
        return Entry(name, self._found(name)) if name.startswith(ELSEWHERE) else super().entry(name)

    def entries(self, paths: Sequence[str]) -> list[Entry]:
        """Objects of the listing, or elsewhere."""
        names, found = list(map(_name, paths)), self.elsewhere(paths)
        return [Entry(name, found[name]) if name in found else super(S3Tree, self).entry(name) for name in names]

    def elsewhere(self, paths: Iterable[str]) -> dict[str, SourceFile]:
        """Those of some paths that lead out of the listing, by name: each is asked for once, many at a time."""
        outside = [name for name in dict.fromkeys(map(_name, paths)) if name.startswith(ELSEWHERE)]
        asked = in_order(self._found, outside, IN_FLIGHT)
        return dict(zip(outside, progress(asked, "ingest: looking for objects", total=len(outside)), strict=True))

    def _found(self, name: str) -> SourceFile:
        bucket, key = self._bucket, posixpath.normpath(posixpath.join(self._prefix, name))
        if name.startswith(SCHEME):
            bucket, key = bucket_and_key(name)
            bucket = self._buckets.setdefault(bucket.name, bucket)  # One client for all of its objects.
        listed = bucket.find(key)
        return MISSING if listed is None else S3File(bucket, listed)


def _name(path: str) -> str:
    return path if path.startswith(SCHEME) else posixpath.normpath(path)


def fetched_ahead(images: Iterable[tuple[SourceImage, SourceFile]]) -> Iterator[tuple[SourceImage, SourceFile]]:
    """Each image with its file, read before it is asked for: IN_FLIGHT at a time."""
    return in_order(lambda pair: (pair[0], _fetch(pair[1])), images, IN_FLIGHT, 1, lambda pair: pair[1].num_bytes)


def _fetch(file: SourceFile) -> SourceFile:
    problem = file.problem()
    if problem:
        return BrokenFile(problem)
    try:
        return FetchedFile(file.read())
    except BrokenImage as broken:
        return BrokenFile(Problem(broken.reason, broken.detail))
