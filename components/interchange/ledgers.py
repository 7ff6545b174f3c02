"""The two ledgers of a dataset: which images were taken (samples.parquet) and which were not (quarantine.parquet)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from components.interchange.errors import BadInput, listed

ROWS_AT_ONCE = 8192
SAMPLES_FILE, QUARANTINE_FILE = "samples.parquet", "quarantine.parquet"


class Sample(NamedTuple):
    """One image. `id` is the sha256 of the source bytes, `path` relative to the source; the size is the source's.

    `format` is Pillow's name of the file's; `phash` the 64-bit perceptual hash of the stored pixels in hex,
    `brightness` their mean luma on [0, 1]; `attributes` the manifest's other columns as a JSON object, if any;
    `icc` the name of the colour profile that the file carries, if any. Pixels are taken as they are, whatever it says.
    """

    id: str
    path: str
    label: str
    split: str
    group: str | None
    width: int
    height: int
    format: str
    phash: str
    brightness: float
    attributes: str | None
    icc: str | None = None


class Quarantined(NamedTuple):
    """One file that was not taken: `reason` is one of a few words, `detail` says what was found."""

    path: str
    reason: str
    detail: str


_NO_TEXT = {"width": pa.int32(), "height": pa.int32(), "brightness": pa.float64()}
ADDED_LATER = ("icc",)  # Null in ledgers of an older Graft.
SAMPLES_SCHEMA = pa.schema([(name, _NO_TEXT.get(name, pa.string())) for name in Sample._fields])
QUARANTINE_SCHEMA = pa.schema([(name, pa.string()) for name in Quarantined._fields])


def write_samples(folder: Path, samples: Iterable[Sample]) -> None:
    """Write samples.parquet, in the order of the shards."""
    write_table(folder / SAMPLES_FILE, SAMPLES_SCHEMA, samples)


def write_quarantine(folder: Path, quarantined: Iterable[Quarantined]) -> None:
    """Write quarantine.parquet, sorted by path."""
    write_table(folder / QUARANTINE_FILE, QUARANTINE_SCHEMA, sorted(quarantined))


def read_samples(folder: Path) -> list[Sample]:
    """Read samples.parquet of a dataset; BadInput when it is missing, damaged or of an older Graft."""
    return [Sample._make(row) for row in read_table(folder / SAMPLES_FILE, SAMPLES_SCHEMA, ADDED_LATER)]


def write_table(path: Path, schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write rows whose fields are the schema's columns, as one row group."""
    pq.write_table(pa.Table.from_batches(_batches(schema, rows), schema), path)


def write_long_table(path: Path, schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> None:
    """As `write_table`, but never all rows in memory: row groups of ROWS_AT_ONCE."""
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(schema, rows):
            writer.write_batch(batch)


def _batches(schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> Iterator[pa.RecordBatch]:
    left = iter(rows)
    while some := list(islice(left, ROWS_AT_ONCE)):
        arrays = [pa.array(cells, field.type) for cells, field in zip(zip(*some, strict=True), schema, strict=True)]
        yield pa.record_batch(arrays, schema=schema)


def read_table(path: Path, schema: pa.Schema, added_later: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """Rows with the schema's columns as fields; BadInput when the file is missing, damaged or lacks a column.

    Columns that were `added_later` are null where they are lacking.
    """
    if not path.is_file():
        raise BadInput(f"{path.parent} has no {path.name}. Was it copied whole?")
    try:
        # A file object: pyarrow would take `key=value` in a folder's name for a column.
        with path.open("rb") as stream:
            found = pq.ParquetFile(stream)
            lacking = [name for name in schema.names if name not in found.schema_arrow.names]
            lacking = [name for name in lacking if name not in added_later]
            table = pa.table({}) if lacking else found.read(columns=schema.names)
            columns = [_column(table, field) for field in schema]
    except (pa.ArrowException, ValueError, OSError) as error:
        raise BadInput(f"{path} cannot be read as a ledger ({error}).") from None
    if lacking:
        raise BadInput(f"{path} lacks {listed(lacking)}: an older Graft wrote it. Run the step that made it again.")
    return list(zip(*columns, strict=True))


def _column(table: pa.Table, field: pa.Field) -> list[Any]:
    if field.name not in table.column_names:
        return [None] * len(table)
    return list(table.column(field.name).cast(field.type).to_pylist())
