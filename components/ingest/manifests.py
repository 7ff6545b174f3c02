"""Manifests: tables (CSV, JSON lines, Parquet) with a column for the image's path, one for its label, maybe more."""

import json
from pathlib import PurePosixPath
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from components.interchange.dataset import SPLITS, SplitName
from components.interchange.errors import BadInput, listed, near

MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")
Cells = list[str | None]


class Columns(NamedTuple):
    """Names of a manifest's columns. Optional ones are used where the manifest has them; `required` must be there.

    `metadata_image` is the image's column in the metadata file of a folder.
    """

    image: str
    label: str
    split: str
    group: str
    required: frozenset[str] = frozenset()
    metadata_image: str = "file_name"


class ManifestRow(NamedTuple):
    """One row: `image` is relative to the manifest."""

    image: str
    label: str
    split: SplitName | None
    group: str | None


def is_manifest(name: str) -> bool:
    """Whether a file's name is that of a manifest."""
    return name.lower().endswith(MANIFEST_SUFFIXES)


def read_manifest(path: str, data: bytes, columns: Columns) -> list[ManifestRow]:
    """The rows of a manifest, in its order; BadInput on unknown columns, empty cells and unknown splits."""
    file_name = PurePosixPath(path).name
    names, cells = _read(path, data, columns)
    for name in [columns.image, columns.label, *sorted(columns.required)]:
        if name not in names:
            raise BadInput(
                f"{file_name} has no column {name!r}.{near(name, names)} Its columns: {listed(names)}. Name the right "
                "ones with --image-column, --label-column, --split-column, --group-column."
            )
    num_rows = len(cells[columns.image])
    if not num_rows:
        raise BadInput(f"there are no images in {path}: the manifest has no rows.")
    nothing: Cells = [None] * num_rows
    splits = cells.get(columns.split, nothing)
    _check_filled(file_name, columns.image, cells[columns.image])
    _check_filled(file_name, columns.label, cells[columns.label])
    _check_splits(file_name, columns.split, splits)
    rows = zip(cells[columns.image], cells[columns.label], splits, cells.get(columns.group, nothing), strict=True)
    return [
        ManifestRow(cast(str, image), cast(str, label), cast(SplitName | None, split), group)
        for image, label, split, group in rows
    ]


def _read(path: str, data: bytes, columns: Columns) -> tuple[list[str], dict[str, Cells]]:
    """All names of columns, and the cells of those that are used."""
    used = (columns.image, columns.label, columns.split, columns.group)
    try:
        if path.lower().endswith(".jsonl"):
            return _json_lines(data, used)
        read = _csv if path.lower().endswith(".csv") else _parquet
        names, table = read(data, used)
        texts = {name: pc.utf8_trim_whitespace(table.column(name).cast(pa.string())) for name in table.column_names}
    except (pa.ArrowException, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a manifest ({error}).") from None
    return names, {name: pc.if_else(pc.equal(text, ""), None, text).to_pylist() for name, text in texts.items()}


def _csv(data: bytes, used: tuple[str, ...]) -> tuple[list[str], pa.Table]:
    with pyarrow.csv.open_csv(pa.BufferReader(data)) as reader:
        names = list(reader.schema.names)
    wanted = [name for name in dict.fromkeys(used) if name in names]
    # As text: a label 007 is no number.
    options = pyarrow.csv.ConvertOptions(
        include_columns=wanted,
        column_types=dict.fromkeys(wanted, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    return names, pyarrow.csv.read_csv(pa.BufferReader(data), convert_options=options, parse_options=parsing)


def _parquet(data: bytes, used: tuple[str, ...]) -> tuple[list[str], pa.Table]:
    names = list(pyarrow.parquet.read_schema(pa.BufferReader(data)).names)
    wanted = [name for name in dict.fromkeys(used) if name in names]
    return names, pyarrow.parquet.read_table(pa.BufferReader(data), columns=wanted)


def _json_lines(data: bytes, used: tuple[str, ...]) -> tuple[list[str], dict[str, Cells]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row)) if rows else list(used)
    return names, {name: [_text(name, row.get(name)) for row in rows] for name in dict.fromkeys(used) if name in names}


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


def _check_splits(name: str, column: str, values: Cells) -> None:
    unknown = sorted({value for value in values if value is not None and value not in SPLITS})
    if unknown:
        raise BadInput(
            f"column {column!r} of {name} holds {listed(repr(value) for value in unknown)}: "
            f"expected {', '.join(SPLITS)}, or nothing where Graft may choose."
        )
