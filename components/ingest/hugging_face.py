"""What Hugging Face's `datasets` writes into Parquet in its own way: classes as numbers, images as path and bytes."""

import json
import logging
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.interchange.errors import listed

METADATA_KEY = b"huggingface"
NO_LABEL = -1  # What `datasets` writes for a row without a label.
DAMAGED = "its metadata 'huggingface' are damaged: expected JSON with info.features, and names for each ClassLabel"

log = logging.getLogger("graft")


def with_class_names(table: pa.Table, *, told: bool = False) -> pa.Table:
    """A table with names instead of numbers in each column that is a ClassLabel; ValueError on numbers without a name.

    The schema's metadata says so: {"info": {"features": {COLUMN: {"_type": "ClassLabel", "names": [NAME, …]}}}}. A row
    without a label stays one. The names are logged, unless they were told of another table.
    """
    for column, names in _class_labels(table.schema.metadata or {}).items():
        if table.column_names.count(column) != 1 or not pa.types.is_integer(table.schema.field(column).type):
            continue
        numbers = pc.if_else(pc.equal(table.column(column), NO_LABEL), None, table.column(column))
        _check_named(column, numbers, names)
        named = pa.chunked_array([pc.take(pa.array(names, pa.string()), numbers.combine_chunks())])
        table = table.set_column(table.column_names.index(column), column, named)
        if not told:
            log.info("column %r: its numbers are names in the file's Hugging Face metadata: %s", column, listed(names))
    return table


def with_paths(table: pa.Table, columns: Iterable[str]) -> pa.Table:
    """A table whose images are paths where they were structs of path and bytes; ValueError where bytes are there."""
    for column in columns:
        kind = table.schema.field(column).type
        if not (pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}):
            continue
        images = table.column(column)
        inside = pc.sum(pc.is_valid(pc.struct_field(images, "bytes"))).as_py()
        if inside:
            raise ValueError(
                f"column {column!r} holds the images themselves in {inside} of {len(images)} rows, not their paths. "
                "A table of images is read where it is itself the --source, or lies in a folder of such tables"
            )
        table = table.set_column(table.column_names.index(column), column, pc.struct_field(images, "path"))
    return table


def image_features(schema: pa.Schema) -> list[str]:
    """The columns that are an Image by the metadata."""
    return list(_features(schema.metadata or {}, "Image"))


def class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """The names of a column's classes by the metadata, in the order of its numbers; None where it is no ClassLabel."""
    return _class_labels(schema.metadata or {}).get(column)


def _class_labels(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """The names of classes, by column."""
    try:
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in _features(metadata, "ClassLabel").items()
        }
    except (LookupError, TypeError):
        raise ValueError(DAMAGED) from None


def _features(metadata: dict[bytes, bytes], kind: str) -> dict[str, dict[str, Any]]:
    """The features of one kind, by column."""
    if METADATA_KEY not in metadata:
        return {}
    try:
        features: dict[str, Any] = json.loads(metadata[METADATA_KEY]).get("info", {}).get("features") or {}
        return {
            column: feature
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == kind
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(DAMAGED) from None


def _check_named(column: str, numbers: pa.ChunkedArray, names: list[str]) -> None:
    without = pc.or_(pc.less(numbers, 0), pc.greater_equal(numbers, len(names)))
    rows = [number for number, odd in enumerate(without.to_pylist(), 1) if odd]
    if rows:
        found = sorted({str(number) for number in numbers.filter(without).to_pylist()}, key=int)
        raise ValueError(
            f"column {column!r} holds {listed(found)} in {len(rows)} rows ({listed(rows)}), and its Hugging Face "
            f"metadata have names for 0 to {len(names) - 1} alone: {listed(names)}"
        )
