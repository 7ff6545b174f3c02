"""Images in the rows of Parquet tables: read a batch at a time, however large table and row group are.

Rows are cheap in their order, which is that of their names: `in_turn` asks for them so. A row out of turn costs the
reading of its row group up to there.
"""

import bisect
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.ingest.files import BrokenFile, Problem, SourceFile, Stamp, size_problem
from components.ingest.image_columns import ImageColumn
from components.ingest.layouts import SourceImage
from components.ingest.parquet_cells import longest_repeated, open_parquet
from components.interchange.image_files import BrokenImage

BATCH_BYTES = 8 << 20  # As much as two batches of it are in memory, or two images where they are larger.
MAX_BATCH_ROWS = 1024
NUMBER_DIGITS = 7


class ImageTable:
    """A table on the disk. `name` is its path in the source, `stamp` what its rows are known by, `group_rows` how many
    rows each of its row groups has.
    """

    def __init__(self, name: str, path: Path, stamp: Stamp | None, column: ImageColumn, metadata: pq.FileMetaData):
        self.name, self.path, self.stamp, self.column, self.metadata = name, path, stamp, column, metadata
        self.group_rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._ends = list(accumulate(self.group_rows))
        self._found = _state(path)

    @property
    def leaf(self) -> int:
        """The number of the leaf of bytes in the Parquet schema."""
        names = [self.metadata.schema.column(number).path for number in range(self.metadata.num_columns)]
        return names.index(self.column.bytes_leaf)

    def group_of(self, row: int) -> tuple[int, int]:
        """The row group of a row, and the group's first row."""
        group = bisect.bisect_right(self._ends, row)
        return group, self._ends[group] - self.group_rows[group]

    def batches(self, group: int) -> Iterator[pa.Array]:
        """The images of a row group, some at a time; what pyarrow raises where the table is damaged.

        OSError where the table is no longer the one that was listed.
        """
        mean = self.metadata.row_group(group).column(self.leaf).total_uncompressed_size // max(
            1, self.group_rows[group]
        )
        row_bytes = max(1, mean, longest_repeated(self.path, self.metadata, group, [self.leaf]))
        rows = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // row_bytes))
        with open_parquet(self.path, self.metadata) as file:
            if _state(self.path) != self._found:
                raise OSError("it changed while it was read")
            wanted = [self.column.bytes_leaf]
            for batch in file.iter_batches(rows, row_groups=[group], columns=wanted, use_threads=False):
                column = batch.column(self.column.name)
                yield pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column

    def filled(self) -> Iterator[bool]:
        """Of each row, whether it has bytes. Only groups whose statistics leave it open are read."""
        for group, num_rows in enumerate(self.group_rows):
            statistics = self.metadata.row_group(group).column(self.leaf).statistics
            nulls = statistics.null_count if statistics is not None and statistics.has_null_count else None
            if nulls in (0, num_rows):
                yield from [nulls == 0] * num_rows
            else:
                for batch in self.batches(group):
                    yield from batch.is_valid().to_pylist()


class RowReader:
    """Reads rows of all tables of a source: one file is open, two batches are in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[tuple[ImageTable, int, pa.Array]] = deque(maxlen=2)
        self._batches: Iterator[pa.Array] = iter(())
        self._place: tuple[ImageTable | None, int, int] = (None, 0, 0)  # Table, group, and the row that comes next.
        self._broken: dict[tuple[ImageTable, int], tuple[int, Problem]] = {}  # By group, from which row on.

    def cell(self, table: ImageTable, row: int) -> SourceFile:
        """The image of a row, which its batch holds; broken where it cannot be read."""
        with self._lock:
            return self._seen(table, row) or self._advanced(table, row)

    def _seen(self, table: ImageTable, row: int) -> SourceFile | None:
        for of, start, batch in self._recent:
            if of is table and start <= row < start + len(batch):
                return _Cell(batch, row - start)
        return None

    def _advanced(self, table: ImageTable, row: int) -> SourceFile:
        group, first = table.group_of(row)
        broken = self._broken.get((table, group))
        if broken and row >= broken[0]:
            return BrokenFile(broken[1])
        of, of_group, coming = self._place
        if (of, of_group) != (table, group) or coming > row:
            self._batches, coming = table.batches(group), first
        try:
            while coming <= row:
                batch = next(self._batches)
                self._recent.append((table, coming, batch))
                coming += len(batch)
        except Exception as error:  # Damaged tables raise whatever the decoders stumble over.
            why = "it ends early" if isinstance(error, StopIteration) else str(error).strip().split("\n")[0]
            problem = Problem("unreadable", f"{table.name} is damaged from row {coming + 1} on ({why})")
            self._broken[table, group] = (coming, problem)
            self._place = (None, 0, 0)
            return BrokenFile(problem)
        self._place = (table, group, coming)
        found = self._seen(table, row)
        assert found is not None
        return found


class TableRow(NamedTuple):
    """The image in a row of a table, which is counted from 0."""

    reader: RowReader
    table: ImageTable
    row: int

    def stamp(self) -> Stamp | None:
        """That of the table, and the row."""
        known = self.table.stamp
        return None if known is None else known._replace(uri=f"{known.uri}/{row_name(self.row)}")

    @property
    def num_bytes(self) -> int:
        """As many as its batch says, which is read for it."""
        return self.held().num_bytes

    def problem(self) -> Problem | None:
        """Nothing is to be seen without reading."""
        return None

    def read(self) -> bytes:
        """All bytes."""
        return self.held().read()

    def held(self) -> SourceFile:
        """The row's image, in memory or about to be; broken where it cannot be read."""
        return self.reader.cell(self.table, self.row)


class _Cell(NamedTuple):
    """An image in a batch."""

    batch: pa.Array
    place: int

    def stamp(self) -> None:
        """It is no longer asked for."""

    @property
    def num_bytes(self) -> int:
        """The image's own, which keep its batch in memory."""
        data = self.batch[self.place].as_buffer()
        return 0 if data is None else int(data.size)

    def problem(self) -> Problem | None:
        """None; `read` says it."""
        return None

    def read(self) -> bytes:
        """All bytes."""
        data = self.batch[self.place].as_buffer()
        problem = size_problem(0 if data is None else data.size)
        if problem:
            raise BrokenImage(*problem)
        return bytes(data.to_pybytes())


def row_name(row: int, path: str | None = None) -> str:
    """What the image of a row, counted from 0, is called in its table: its number from 1 on, and its file's name."""
    name = (path or "").replace("\\", "/").rsplit("/", 1)[-1]
    return f"{row + 1:0{NUMBER_DIGITS}d}" + (f"-{name}" if name else "")


def in_turn(images: Iterable[SourceImage]) -> Iterator[tuple[SourceImage, SourceFile]]:
    """Each image with its file; rows of tables are read here, in the order in which they lie, and decoded elsewhere."""
    for image in images:
        yield image, image.file.held() if isinstance(image.file, TableRow) else image.file


def _state(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116
    return found.st_size, found.st_mtime_ns
