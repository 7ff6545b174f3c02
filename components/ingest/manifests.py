"""Manifests: tables (CSV, JSON lines, Parquet) with a column for the image's path, one for its label, maybe more."""

import codecs
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from components.ingest.hugging_face import with_class_names, with_paths
from components.ingest.parquet_cells import open_parquet, read_columns
from components.ingest.split_names import SPLIT_NAMES, split_called
from components.interchange.dataset import SplitName
from components.interchange.errors import BadInput, listed, near

EXPECTED = "Expected text in UTF-8, a CSV with commas between its cells, a JSON object a line, or Parquet."
Cells = list[str | None]


class Columns(NamedTuple):
    """Names of a manifest's columns. Optional ones are used where the manifest has them; `required` were asked for,
    and must be there.

    `metadata_image` is the image's column in the metadata file of a folder.
    """

    image: str
    label: str
    split: str
    group: str
    required: frozenset[str] = frozenset()
    metadata_image: str = "file_name"


class RowFacts(NamedTuple):
    """What a row says of its image; `attributes` are other filled cells, as a JSON object."""

    label: str | None
    split: SplitName | None
    group: str | None
    attributes: str | None


class ManifestRow(NamedTuple):
    """One row: `image` is relative to the manifest."""

    image: str
    facts: RowFacts


class _Table(NamedTuple):
    """All names of columns; the cells of those that are used; of each row the others as JSON."""

    names: list[str]
    cells: dict[str, Cells]
    attributes: Cells


def read_manifest(path: str, data: bytes, columns: Columns) -> list[ManifestRow]:
    """The rows of a manifest, in its order; BadInput on unknown columns, unknown splits and rows without an image."""
    table = _read(path, data, (columns.image, columns.label, columns.split, columns.group))
    facts = _facts(path, table, columns, [columns.image, columns.label])
    images = table.cells[columns.image]
    _check_filled(PurePosixPath(path).name, columns.image, images)
    return [ManifestRow(cast(str, image), of_row) for image, of_row in zip(images, facts, strict=True)]


def facts_of(path: str, table: pa.Table, columns: Columns, *, names_told: bool) -> list[RowFacts]:
    """What the rows of a table say of images that are somewhere else; BadInput as `read_manifest`."""
    with _readable(path):
        found = _cells_of(with_class_names(table, told=names_told), (columns.label, columns.split, columns.group))
    return _facts(path, found, columns, [columns.label])


def _facts(path: str, table: _Table, columns: Columns, needed: list[str]) -> list[RowFacts]:
    file_name = PurePosixPath(path).name
    names = table.names
    for name in [*needed, *sorted(columns.required - {columns.image, columns.label})]:
        if name not in names:
            otherwise = f" {EXPECTED}" if len(names) == 1 else ""
            raise BadInput(
                f"{file_name} has no column {name!r}.{near(name, names)} Its columns: {listed(names)}. Name the right "
                f"ones with --image-column, --label-column, --split-column, --group-column.{otherwise}"
            )
    labels = table.cells[columns.label]
    if not labels:
        raise BadInput(f"there are no images in {path}: the manifest has no rows.")
    nothing: Cells = [None] * len(labels)
    splits = _splits(file_name, columns.split, table.cells.get(columns.split, nothing))
    groups = table.cells.get(columns.group, nothing)
    rows = zip(labels, splits, groups, table.attributes, strict=True)
    return [RowFacts(*row) for row in rows]


def read_cells(path: str, data: bytes, names: tuple[str, ...]) -> dict[str, Cells]:
    """The cells of some columns, those of them that are there; BadInput where the file cannot be read."""
    return _read(path, data, names).cells


def _read(path: str, data: bytes, used: tuple[str, ...]) -> _Table:
    with _readable(path):
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError('it is UTF-16, as Excel\'s "Unicode text" is: save it as "CSV UTF-8"')
        if path.lower().endswith(".jsonl"):
            return _json_lines(data, used)
        return _cells_of(_csv(data), used) if path.lower().endswith(".csv") else _parquet(data, used)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError) as error:
        why = 'a row of over 1 MiB: is a quotation mark (") never closed?' if "straddling" in str(error) else error
        raise BadInput(f"{path} cannot be read as a manifest ({why}). {EXPECTED}") from None


def _cells_of(table: pa.Table, used: tuple[str, ...], all_names: list[str] | None = None) -> _Table:
    names = all_names or table.column_names
    twice = [name for name in used if names.count(name) > 1]
    if twice:
        raise ValueError(f"it has several columns named {listed(repr(name) for name in twice)}")
    there = [name for name in dict.fromkeys(used) if name in names]
    table = with_paths(table, there)
    cells = {name: _trimmed(table.column(name).cast(pa.string())) for name in there}
    return _Table(names, cells, _attributes(table.drop_columns(list(cells))))


def _csv(data: bytes) -> pa.Table:
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with pyarrow.csv.open_csv(pa.BufferReader(data), parse_options=parsing) as reader:
        names = reader.schema.names
    # As text: a label 007 is no number.
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    return pyarrow.csv.read_csv(pa.BufferReader(data), convert_options=options, parse_options=parsing)


def _parquet(data: bytes, used: tuple[str, ...]) -> _Table:
    schema = open_parquet(pa.BufferReader(data)).schema_arrow
    wanted = [field.name for field in schema if field.name in used or not pa.types.is_nested(field.type)]
    table = read_columns(pa.BufferReader(data), len(data), wanted)
    return _cells_of(with_class_names(table), used, schema.names)


def _trimmed(texts: pa.ChunkedArray) -> Cells:
    """Cells without blanks at either end; an empty one is None."""
    trimmed = pc.utf8_trim_whitespace(texts)
    cells: Cells = pc.if_else(pc.equal(trimmed, ""), None, trimmed).to_pylist()
    return cells


def _attributes(table: pa.Table) -> Cells:
    """The filled cells of each row, as JSON. Columns of one name, of bytes and of lists are left out."""
    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_temporal, pa.types.is_decimal)
    columns: dict[str, list[Any]] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if table.column_names.count(field.name) > 1:
            continue
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            columns[field.name] = _trimmed(column.cast(pa.string()))
        elif any(is_kind(kind) for is_kind in plain):
            columns[field.name] = column.to_pylist()
    if not columns:
        return [None] * table.num_rows
    return [_json(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _json(cells: dict[str, Any]) -> str | None:
    # What is no number is no JSON, and differs from itself.
    filled = {name: value for name, value in cells.items() if value is not None and value == value}
    return json.dumps(filled, sort_keys=True, default=str) if filled else None


def _json_lines(data: bytes, used: tuple[str, ...]) -> _Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row)) if rows else list(used)
    cells = {name: [_text(name, row.get(name)) for row in rows] for name in dict.fromkeys(used) if name in names}
    others = [{name: value for name, value in row.items() if name not in cells} for row in rows]
    return _Table(names, cells, [_json(cells_of_row) for cells_of_row in others])


def _text(column: str, value: Any) -> str | None:
    """A cell without blanks at either end; an empty one is None."""
    if value is None:
        return None
    if isinstance(value, str):
        value.encode()  # A lone surrogate can be written in JSON and in no ledger.
        return value.strip() or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"column {column!r} holds {value!r}: expected text or a whole number")


def _check_filled(name: str, column: str, values: Cells) -> None:
    empty = [number for number, value in enumerate(values, 1) if value is None]
    if empty:
        raise BadInput(f"{len(empty)} rows of {name} have nothing in column {column!r}: rows {listed(empty)}.")


def _splits(name: str, column: str, values: Cells) -> list[SplitName | None]:
    unknown = sorted({value for value in values if value is not None and not split_called(value)})
    if unknown:
        raise BadInput(
            f"column {column!r} of {name} holds {listed(repr(value) for value in unknown)}: "
            f"expected {', '.join(SPLIT_NAMES)}, or nothing where Graft may choose."
        )
    return [None if value is None else split_called(value) for value in values]
