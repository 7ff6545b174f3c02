"""What a source holds, read once: every file a picture, or the reason why it is none."""

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from components.ingest.files import SourceFile
from components.ingest.layouts import Listing, SourceImage
from components.ingest.manifests import Columns
from components.ingest.parallel import in_order
from components.ingest.pictures import Chosen, Picture, read_picture
from components.ingest.remote import fetched_ahead
from components.ingest.sources import read_source
from components.ingest.spec import Reading
from components.ingest.spool import Shelf
from components.ingest.table_rows import in_turn
from components.ingest.tars import TarMember
from components.interchange.cores import num_cores
from components.interchange.ledgers import Quarantined
from components.interchange.progress import progress
from components.interchange.s3_objects import SCHEME
from components.interchange.stored_images import Encoding


class Found(NamedTuple):
    """All files of a source: pictures that can be used, sorted by path, and files that cannot; its classes, sorted.

    `unusable` are those of `broken` that have a label, by path.
    """

    num_files: int
    classes: list[str]
    pictures: list[Picture]
    broken: list[Quarantined]
    unusable: dict[str, SourceImage]


def found_in(listing: Listing, entries: Sequence[Picture | Quarantined]) -> Found:
    """A source's files from its listing and what became of each of its images."""
    pictures = [entry for entry in entries if isinstance(entry, Picture)]
    broken = listing.unusable + [entry for entry in entries if isinstance(entry, Quarantined)]
    classes = sorted({image.label for image in listing.images})
    unusable = {
        image.path: image
        for image, entry in zip(listing.images, entries, strict=True)
        if isinstance(entry, Quarantined)
    }
    return Found(len(listing.images) + len(listing.unusable), classes, pictures, broken, unusable)


def list_source(spec: Reading, scratch: Path) -> Listing:
    """The files of a source; as `sources.read_source`."""
    return read_source(spec.source, _columns(spec), scratch)


def all_raw(raw_bytes: int) -> Encoding:
    """Every image is put aside as raw pixels."""
    return "raw"


def all_jpeg(raw_bytes: int) -> Encoding:
    """Every image is put aside as a JPEG."""
    return "jpeg"


def as_they_lie(images: Sequence[SourceImage], numbers: Iterable[int]) -> list[int]:
    """The numbers of some images in the order in which to read them: in a .tar.gz one that never goes back."""

    def offset(number: int) -> int:
        file = images[number].file
        return file.offset if isinstance(file, TarMember) else 0

    return sorted(numbers, key=offset)


def read_images(
    spec: Reading, images: Sequence[SourceImage], shelf: Shelf, chosen: Chosen = all_raw
) -> Generator[Picture | Quarantined, None, None]:
    """Read and decode the images on all cores, in their order; pixels are put on the shelf, encoded as is chosen."""

    def read(image: tuple[SourceImage, SourceFile]) -> Picture | Quarantined:
        return read_picture(*image, spec.stored_size_px, spec.interpolation, shelf, chosen)

    files = in_turn(images)
    if spec.source.startswith(SCHEME):
        files = fetched_ahead(files)
    read_all = in_order(read, files, num_cores(), num_bytes=lambda pair: pair[1].num_bytes)
    return progress(read_all, "ingest: reading images", total=len(images))


def _columns(spec: Reading) -> Columns:
    fields = Reading.model_fields
    # A manifest need not have the optional columns, unless they were asked for by another name.
    named = {
        "image_column": spec.image_column,
        "split_column": spec.split_column,
        "group_column": spec.group_column,
    }
    required = frozenset(value for name, value in named.items() if value != fields[name].default)
    metadata = {} if spec.image_column == fields["image_column"].default else {"metadata_image": spec.image_column}
    return Columns(spec.image_column, spec.label_column, spec.split_column, spec.group_column, required, **metadata)
