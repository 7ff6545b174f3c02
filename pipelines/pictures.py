"""Where the images to predict lie: files, folders and s3:// URIs, each read only when it is its turn."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from components.interchange.blobs import Blobs, open_blobs
from components.interchange.errors import BadInput

REMOTE = "s3://"


class Picture(NamedTuple):
    """One image: its name as it was asked for, and its bytes when they are needed (OSError, BadInput)."""

    name: str
    read: Callable[[], bytes]


def found_in(images: Sequence[str]) -> Iterator[Picture]:
    """The images of files, folders and URIs, in order; a folder's sorted by path, without hidden ones.

    BadInput at once on none at all and on empty folders; a file that is not there is only found out when it is read.
    """
    if not images:
        raise BadInput("no images were given. Expected image files, folders or s3:// URIs.")
    groups = [_remote(image) if image.startswith(REMOTE) else _local(Path(image)) for image in images]
    return chain.from_iterable(groups)


def _local(path: Path) -> list[Picture]:
    if not path.is_dir():
        return [Picture(str(path), path.read_bytes)]
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not _hidden(file.relative_to(path))]
    if not files:
        raise BadInput(f"the folder {path} holds no files. Expected images.")
    return [Picture(str(file), file.read_bytes) for file in files]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _remote(uri: str) -> list[Picture]:
    """Every object under a prefix, or the one object of that name."""
    uri = uri.rstrip("/")
    folder = open_blobs(uri)
    keys = [key for key in folder.list() if not _hidden(Path(key))]
    if keys:
        return [_object(folder, key) for key in keys]
    parent, _, name = uri.rpartition("/")
    if parent.removeprefix(REMOTE).strip("/"):
        return [_object(open_blobs(parent), name)]
    raise BadInput(f"{uri} holds no objects. Expected images, or the URI of one.")


def _object(folder: Blobs, key: str) -> Picture:
    def read() -> bytes:
        data = folder.get(key)
        if data is None:
            raise BadInput("there is no such object")
        return data

    return Picture(f"{folder.uri}/{key}", read)
