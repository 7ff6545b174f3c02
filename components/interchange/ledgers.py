"""The two ledgers of a dataset: which images were taken (samples.parquet) and which were not (quarantine.parquet)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from components.interchange.errors import BadInput

SAMPLES_FILE, QUARANTINE_FILE = "samples.parquet", "quarantine.parquet"


class Sample(NamedTuple):
    """One image. `id` is the sha256 of the source bytes, `path` relative to the source; the size is the source's."""

    id: str
    path: str
    label: str
    split: str
    group: str | None
    width: int
    height: int


class Quarantined(NamedTuple):
    """One file that was not taken: `reason` is one of a few words, `detail` says what was found."""

    path: str
    reason: str
    detail: str


_TEXT, _PIXELS = pa.string(), pa.int32()
SAMPLES_SCHEMA = pa.schema(
    list(zip(Sample._fields, (_TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _PIXELS, _PIXELS), strict=True))
)
QUARANTINE_SCHEMA = pa.schema([(name, _TEXT) for name in Quarantined._fields])


def write_samples(folder: Path, samples: Iterable[Sample]) -> None:
    """Write samples.parquet, in the order of the shards."""
    rows = [sample._asdict() for sample in samples]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLES_SCHEMA), folder / SAMPLES_FILE)


def write_quarantine(folder: Path, quarantined: Iterable[Quarantined]) -> None:
    """Write quarantine.parquet, sorted by path."""
    rows = [entry._asdict() for entry in sorted(quarantined)]
    pq.write_table(pa.Table.from_pylist(rows, QUARANTINE_SCHEMA), folder / QUARANTINE_FILE)


def read_samples(folder: Path) -> list[Sample]:
    """Read samples.parquet of a dataset; BadInput when it is missing or damaged."""
    return [Sample(**row) for row in _read(folder / SAMPLES_FILE, SAMPLES_SCHEMA)]


def read_quarantine(folder: Path) -> list[Quarantined]:
    """Read quarantine.parquet of a dataset; BadInput when it is missing or damaged."""
    return [Quarantined(**row) for row in _read(folder / QUARANTINE_FILE, QUARANTINE_SCHEMA)]


def _read(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    if not path.is_file():
        raise BadInput(f"{path.parent} has no {path.name}. Was the dataset copied whole?")
    try:
        # A file object: pyarrow would take `key=value` in a folder's name for a column.
        with path.open("rb") as stream:
            rows: list[dict[str, Any]] = pq.read_table(stream, columns=schema.names).cast(schema).to_pylist()
    except (pa.ArrowException, ValueError, OSError) as error:
        raise BadInput(f"{path} cannot be read as a ledger ({error}).") from None
    return rows
