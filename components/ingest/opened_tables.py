"""One Parquet table that may hold its images: opened where it lies, or downloaded, and read but for the images."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.files import BrokenFile, DiskFile, SourceFile
from components.ingest.hugging_face import class_names
from components.ingest.image_columns import ImageColumn, image_column, is_bytes
from components.ingest.manifests import Columns
from components.ingest.parquet_cells import open_parquet, read_columns
from components.ingest.remote import S3File
from components.ingest.table_rows import ImageTable
from components.ingest.trees import Entry
from components.interchange.errors import BadInput
from components.interchange.image_files import BrokenImage
from components.interchange.s3_objects import ObjectChanged


class OpenedTable(NamedTuple):
    """A table whose column of images is known, and what its rows say: [N] paths, where there is one, and whether the
    row has bytes; all columns that are no bytes; the names of the label's numbers, if any.
    """

    table: ImageTable
    paths: list[str | None]
    filled: list[bool]
    facts: pa.Table
    names: list[str] | None


def opened_table(shown: str, entry: Entry, columns: Columns, scratch: Path) -> OpenedTable | None:
    """A table of images; None where it has no column of images, or is not there.

    BadInput where it cannot be read, holds images inside an archive, or has several columns of images.
    """
    path, file = entry
    if isinstance(file, BrokenFile) or ((problem := file.problem()) and problem.reason != "too large"):
        return None
    try:
        if not isinstance(file, DiskFile | S3File):
            _check_archived(file, columns)
            return None
        stamp = file.stamp()
        place = Path(file.path) if isinstance(file, DiskFile) else _downloaded(file, scratch)
        with open_parquet(place) as opened:
            column = image_column(opened.schema_arrow, columns)
            if column is None:
                return None
            table = ImageTable(path, place, stamp, column, opened.metadata)
            names = class_names(opened.schema_arrow, columns.label)
            others = read_columns(place, place.stat().st_size, _others(opened.schema_arrow, column, columns))
        filled = list(table.filled())
    except ObjectChanged as error:
        raise BadInput(f"{shown}/{path}: {error}. Start again when it is complete.") from None
    except (pa.ArrowException, ValueError, OSError, EOFError) as error:
        raise BadInput(
            f"{shown}/{path} cannot be read as a manifest or a table of images ({error}). Expected a whole file."
        ) from None
    paths: list[str | None] = [None] * len(filled)
    if column.path_leaf:
        paths = pc.struct_field(others.column(column.name), "path").cast(pa.string()).to_pylist()
    facts = others.drop_columns([column.name]) if column.path_leaf else others
    return OpenedTable(table, paths, filled, facts, names)


def _others(schema: pa.Schema, image: ImageColumn, columns: Columns) -> list[str]:
    """The leaves that are read whole: paths, the columns that are used, and all that are neither bytes nor nested."""
    used = {columns.label, columns.split, columns.group}
    plain = [field.name for field in schema if not is_bytes(field.type) and not pa.types.is_nested(field.type)]
    names = [*plain, *(name for name in used if name in schema.names and name not in plain and name != image.name)]
    return [*names, image.path_leaf] if image.path_leaf else names


def _check_archived(file: SourceFile, columns: Columns) -> None:
    """ValueError where a member of an archive is a table of images."""
    try:
        data = pa.BufferReader(file.read())
    except BrokenImage as broken:
        raise ValueError(str(broken)) from None
    column = image_column(open_parquet(data).schema_arrow, columns)
    if column is None:
        return
    cells = read_columns(data, data.size(), [column.bytes_leaf]).column(column.name)
    if pa.types.is_struct(cells.type):
        cells = pc.struct_field(cells, "bytes")
    if cells.null_count < len(cells):
        raise ValueError(
            f"column {column.name!r} holds the images themselves, and the table lies in an archive: unpack it. A table "
            "of images is read from a folder or S3"
        )


def _downloaded(file: S3File, scratch: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    file.bucket.download(file.listed, folder / "table.parquet")
    return folder / "table.parquet"
