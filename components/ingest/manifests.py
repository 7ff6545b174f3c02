"""Manifests: tables (CSV, Parquet) with a column for the image's path, one for its label, perhaps split and group."""

from pathlib import Path
from typing import NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from components.interchange.dataset import SPLITS, SplitName
from components.interchange.errors import BadInput, listed, near


class Columns(NamedTuple):
    """Names of a manifest's columns. Optional ones are used where the manifest has them; `required` must be there."""

    image: str
    label: str
    split: str
    group: str
    required: frozenset[str] = frozenset()


class ManifestRow(NamedTuple):
    """One row: `image` is relative to the manifest."""

    image: str
    label: str
    split: SplitName | None
    group: str | None


def read_manifest(path: Path, columns: Columns) -> list[ManifestRow]:
    """The rows of a manifest, in its order; BadInput on unknown columns, empty cells and unknown splits."""
    names = _column_names(path)
    needed = [columns.image, columns.label, *sorted(columns.required)]
    for name in needed:
        if name not in names:
            raise BadInput(
                f"{path.name} has no column {name!r}.{near(name, names)} Its columns: {listed(names)}. Name the right "
                "ones with --image-column, --label-column, --split-column, --group-column."
            )
    used = [name for name in columns[:4] if name in names]
    table = _read(path, list(dict.fromkeys(used)))
    if not table.num_rows:
        raise BadInput(f"there are no images in {path}: the manifest has no rows.")
    values = {name: table.column(name).to_pylist() for name in used}
    nothing: list[str | None] = [None] * table.num_rows
    splits = values.get(columns.split, nothing)
    _check_filled(path, columns.image, values[columns.image])
    _check_filled(path, columns.label, values[columns.label])
    _check_splits(path, columns.split, splits)
    rows = zip(values[columns.image], values[columns.label], splits, values.get(columns.group, nothing), strict=True)
    return [ManifestRow(image, label, cast(SplitName | None, split), group) for image, label, split, group in rows]


def _column_names(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            if path.suffix.lower() == ".csv":
                return list(pyarrow.csv.open_csv(stream).schema.names)
            return list(pyarrow.parquet.read_schema(stream).names)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path} cannot be read as a manifest ({error}).") from None


def _read(path: Path, names: list[str]) -> pa.Table:
    """The named columns as text, without blanks at either end; an empty cell is null."""
    try:
        with path.open("rb") as stream:
            if path.suffix.lower() == ".csv":
                # As text: a label 007 is no number.
                options = pyarrow.csv.ConvertOptions(
                    include_columns=names,
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=True,
                    null_values=[""],
                )
                parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
                table = pyarrow.csv.read_csv(stream, convert_options=options, parse_options=parsing)
            else:
                table = pyarrow.parquet.read_table(stream, columns=names)
        columns = [pc.utf8_trim_whitespace(table.column(name).cast(pa.string())) for name in names]
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path} cannot be read as a manifest ({error}).") from None
    return pa.table([pc.if_else(pc.equal(column, ""), None, column) for column in columns], names=names)


def _check_filled(path: Path, column: str, values: list[str | None]) -> None:
    empty = [number for number, value in enumerate(values, 1) if value is None]
    if empty:
        raise BadInput(f"{len(empty)} rows of {path.name} have nothing in column {column!r}: rows {listed(empty)}.")


def _check_splits(path: Path, column: str, values: list[str | None]) -> None:
    unknown = sorted({value for value in values if value is not None and value not in SPLITS})
    if unknown:
        raise BadInput(
            f"column {column!r} of {path.name} holds {listed(repr(value) for value in unknown)}: "
            f"expected {', '.join(SPLITS)}, or nothing where Graft may choose."
        )
