"""Columns of Parquet tables, read within bounds: a file of some kB may hold gigabytes, as it has what recurs once."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FREE_BYTES = 1 << 28  # As much may come out of any file,
MOST_GROWTH = 50  # and so many times its size out of a larger one.
BATCH_BYTES = 1 << 26
CELL_BYTES = 32
BUFFER_BYTES = 1 << 20
DELTA = "DELTA_BYTE_ARRAY"  # A value may repeat all that was written before it.


def open_parquet(
    source: Path | pa.NativeFile, metadata: pq.FileMetaData | None = None, by_dictionary: Sequence[str] = ()
) -> pq.ParquetFile:
    """A file that is read through small buffers, never a whole column of a row group; its checksums are compared."""
    return pq.ParquetFile(
        source,
        metadata=metadata,
        read_dictionary=list(by_dictionary),
        pre_buffer=False,
        buffer_size=BUFFER_BYTES,
        page_checksum_verification=True,
    )


def read_columns(source: Path | pa.NativeFile, num_bytes: int, columns: Sequence[str]) -> pa.Table:
    """Columns, or leaves of them, of a file of so many bytes.

    ValueError on lists, and where more would come out than names images.
    """
    with open_parquet(source) as file:
        metadata, schema = file.metadata, file.schema
        numbers = [number for number in range(len(schema)) if _is_in(schema.column(number).path, columns)]
        lists = [
            schema.column(number).path.split(".")[0] for number in numbers if schema.column(number).max_repetition_level
        ]
        if lists:
            raise ValueError(f"column {lists[0]!r} holds lists: expected text or whole numbers")
        most = max(FREE_BYTES, MOST_GROWTH * num_bytes)
        too_much = ValueError(
            f"its cells take more than {most:,} bytes, {MOST_GROWTH} times its file's size or {FREE_BYTES >> 20} MiB: "
            "leave out columns of long texts"
        )
        groups = range(metadata.num_row_groups)
        if sum(_num_bytes(metadata, group, number) for group in groups for number in numbers) > most:
            raise too_much
        batches, held = [], 0
        for group in groups:
            rows = 1 + BATCH_BYTES // (1 + longest_repeated(source, metadata, group, numbers))
            for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
                held += batch.nbytes
                if held > most:
                    raise too_much
                batches.append(batch)
        return pa.Table.from_batches(batches) if batches else file.read(columns)


def longest_repeated(source: Path | pa.NativeFile, metadata: pq.FileMetaData, group: int, leaves: Sequence[int]) -> int:
    """At least the bytes of the longest value of some leaves that many rows of a row group may share; 0 without one."""
    chunks = [metadata.row_group(group).column(number) for number in leaves]
    longest = [0] + [chunk.total_uncompressed_size for chunk in chunks if DELTA in chunk.encodings]
    shared = [
        chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page and chunk.physical_type == "BYTE_ARRAY"
    ]
    with open_parquet(source, metadata, shared) as file:
        for batch in islice(file.iter_batches(1, row_groups=[group], columns=shared, use_threads=False), 1):
            longest += [
                pc.max(pc.binary_length(texts)).as_py() or 0 for column in batch.columns for texts in _shared(column)
            ]
    return int(max(longest))


def _shared(column: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_struct(column.type):
        for child in column.flatten():
            yield from _shared(child)
    elif pa.types.is_dictionary(column.type):
        yield column.dictionary


def _num_bytes(metadata: pq.FileMetaData, group: int, leaf: int) -> int:
    chunk = metadata.row_group(group).column(leaf)
    return int(chunk.total_uncompressed_size + chunk.num_values * max(CELL_BYTES, metadata.schema.column(leaf).length))


def _is_in(path: str, columns: Sequence[str]) -> bool:
    return any(path == column or path.startswith(f"{column}.") for column in columns)
