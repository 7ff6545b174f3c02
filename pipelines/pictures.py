"""Where the images to predict lie: files, folders and s3:// URIs, each read only when it is its turn."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from components.ingest.files import DiskFile, size_problem
from components.ingest.trees import is_litter
from components.interchange.errors import BadInput
from components.interchange.image_files import BrokenImage
from components.interchange.s3_objects import SCHEME, Bucket, ObjectChanged, S3Object, bucket_and_key
from pipelines.source_listing import files_below


class Picture(NamedTuple):
    """One image: its name as it was asked for, and its bytes when they are needed (OSError, BadInput).

    `num_bytes` is how many they will be; 0 where that is not known before.
    """

    name: str
    read: Callable[[], bytes]
    num_bytes: Callable[[], int] = int


def found_in(images: Sequence[str]) -> Iterator[Picture]:
    """The images of files, folders and URIs, in order; a folder's sorted by path, without what file managers leave.

    BadInput at once on none at all and on empty folders; a file that is not there is only found out when it is read.
    """
    if not images:
        raise BadInput("no images were given. Expected image files, folders or s3:// URIs.")
    groups = [_remote(image) if image.startswith(SCHEME) else _local(Path(image)) for image in images]
    return chain.from_iterable(groups)


def _local(path: Path) -> list[Picture]:
    if not path.is_dir():
        return [Picture(str(path), partial(_content, path), partial(_size, path))]
    files = [file for file in sorted(files_below(path)) if file == path or not is_litter(str(file.relative_to(path)))]
    if not files:
        raise BadInput(f"the folder {path} holds no files. Expected images.")
    return [Picture(str(file), partial(_content_in_folder, file), partial(_size, file)) for file in files]


def _size(file: Path) -> int:
    return DiskFile(str(file)).num_bytes


def _content_in_folder(file: Path) -> bytes:
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise BadInput("this is no file")  # Reading a pipe or a device might never end.
    return _content(file)


def _content(file: Path) -> bytes:
    if file.is_file():
        _check_size(file.stat().st_size)
    return file.read_bytes()


def _check_size(num_bytes: int) -> None:
    if problem := size_problem(num_bytes):
        raise BrokenImage(*problem)


def _remote(uri: str) -> list[Picture]:
    """Every object under a prefix, or the one object of that name; not the empty ones that consoles make of folders."""
    bucket, key = bucket_and_key(uri)
    inside = f"{key}/" if key else ""
    listed = [one for one in bucket.objects(inside) if not one.key.endswith("/")]
    found = [_object(bucket, one) for one in listed if not is_litter(one.key.removeprefix(inside))]
    if not found and not key:
        raise BadInput(f"{uri} holds no objects. Expected images, or the URI of one.")
    return found or [Picture(uri, lambda: _as_it_is_now(bucket, key))]


def _object(bucket: Bucket, listed: S3Object) -> Picture:
    def read() -> bytes:
        _check_size(listed.num_bytes)
        try:
            return bucket.read(listed)
        except ObjectChanged:
            return _as_it_is_now(bucket, listed.key)

    return Picture(f"{SCHEME}{bucket.name}/{listed.key}", read, lambda: listed.num_bytes)


def _as_it_is_now(bucket: Bucket, key: str) -> bytes:
    listed = bucket.find(key)
    if listed is None:
        raise BadInput("there is no such object")
    _check_size(listed.num_bytes)
    try:
        return bucket.read(listed)
    except ObjectChanged as changed:
        raise BadInput(str(changed)) from None
