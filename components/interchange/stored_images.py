"""Images as shards hold them, raw or as JPEG files: encoded, written in record batches, read one or many at a time.

Shards are Arrow IPC files. Columns: id (sha256 of the source bytes), label (int32), height, width (int32, pixels), and
`pixels` (height * width * 3 bytes, RGB) where the encoding is raw, `jpeg` (a whole file each) where it is jpeg.
Legend: N images, H height, W width, C 3 channels; pixels are uint8.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin  # noqa: F401  Image.open with a list of formats finds what is imported.

from components.interchange.cores import num_cores
from components.interchange.errors import BadInput

Encoding = Literal["raw", "jpeg"]
DATA_COLUMN: dict[Encoding, str] = {"raw": "pixels", "jpeg": "jpeg"}
JPEG_QUALITY = 95
ROWS_PER_BATCH = 64
BYTES_PER_BATCH = 32 << 20
# Shards are powers of two: as many as leave each about so many images, up to MAX_SHARDS, which may hold more.
IMAGES_PER_SHARD, MOST_IMAGES_PER_SHARD, MAX_SHARDS = 8, 4096, 128


class StoredImage(NamedTuple):
    """One image in its encoding: `data` are raw RGB pixels or a JPEG file."""

    id: str
    label: int
    height_px: int
    width_px: int
    data: bytes


def jpeg_of(image: Image.Image) -> bytes:
    """An RGB image as a JPEG file of JPEG_QUALITY, colours at half resolution; the same bytes on every processor."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return file.getvalue()


def pixels_of_jpeg(data: bytes) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of a JPEG file. Raises what Pillow raises where it is damaged."""
    return np.asarray(Image.open(io.BytesIO(data), formats=("JPEG",)))


def shared_shards(ids: Sequence[str]) -> list[slice]:
    """Which of a split's images, sorted by id, share a shard: those whose ids begin with the same bits.

    So a new image changes one shard, and all others stay what they were until the split has doubled.
    """
    num_shards = 1
    while num_shards * IMAGES_PER_SHARD * 2 <= len(ids) and num_shards < MAX_SHARDS:
        num_shards *= 2
    while num_shards * MOST_IMAGES_PER_SHARD < len(ids):
        num_shards *= 2
    numbers_N = np.array([int(image_id[:8], 16) * num_shards >> 32 for image_id in ids], np.int64)
    starts = [0, *(np.flatnonzero(np.diff(numbers_N)) + 1).tolist(), len(ids)] if ids else []
    return [slice(start, end) for start, end in pairwise(starts)]


def shard_name(split: str, number: int) -> str:
    """The file's name."""
    return f"{split}-{number:05d}.arrow"


def write_shard(path: Path, images: Iterable[StoredImage], encoding: Encoding) -> None:
    """Write one shard of one or more images. Holds one batch in memory at a time."""
    writer = None
    for batch in _batches(images, encoding):
        writer = writer or pa.ipc.new_file(str(path), batch.schema)
        writer.write_batch(batch)
    if writer is not None:
        writer.close()


def _batches(images: Iterable[StoredImage], encoding: Encoding) -> Iterator[pa.RecordBatch]:
    rows: list[StoredImage] = []
    for image in images:
        rows.append(image)
        if len(rows) == ROWS_PER_BATCH or sum(len(row.data) for row in rows) >= BYTES_PER_BATCH:
            yield _batch(rows, encoding)
            rows = []
    if rows:
        yield _batch(rows, encoding)


def _batch(rows: list[StoredImage], encoding: Encoding) -> pa.RecordBatch:
    offsets = np.cumsum([0, *(len(row.data) for row in rows)], dtype=np.int64)
    data = pa.py_buffer(b"".join(row.data for row in rows))
    return pa.record_batch(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "label": pa.array([row.label for row in rows], pa.int32()),
            "height": pa.array([row.height_px for row in rows], pa.int32()),
            "width": pa.array([row.width_px for row in rows], pa.int32()),
            DATA_COLUMN[encoding]: pa.LargeBinaryArray.from_buffers(
                pa.large_binary(), len(rows), [None, pa.py_buffer(offsets), data]
            ),
        }
    )


class Shards(NamedTuple):
    """What the shards of a split hold: ids, int64 labels [N], images."""

    ids: list[str]
    labels_N: NDArray[np.int64]
    images: "StoredImages"


def read_shards(paths: Sequence[Path], encoding: Encoding) -> Shards:
    """Map shards into memory. They stay mapped as long as the images are in use. BadInput when one is missing."""
    ids: list[str] = []
    labels, shapes_N2, offsets, buffers = [np.zeros(0, np.int64)], [np.zeros((0, 2), np.int32)], [], []
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path.parent} lacks the shard {path.name} that its manifest names. Was it copied whole?")
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            if DATA_COLUMN[encoding] not in batch.schema.names:
                raise BadInput(f"{path} holds no {encoding} images, as its manifest says. Was it copied whole?")
            ids += batch.column("id").to_pylist()
            labels.append(batch.column("label").to_numpy().astype(np.int64))
            shapes_N2.append(np.stack([batch.column("height").to_numpy(), batch.column("width").to_numpy()], 1))
            _, offsets_buffer, data = batch.column(DATA_COLUMN[encoding]).buffers()
            offsets.append(np.frombuffer(offsets_buffer, np.int64)[: batch.num_rows + 1])
            buffers.append(np.frombuffer(data, np.uint8))
    return Shards(ids, np.concatenate(labels), StoredImages(np.concatenate(shapes_N2), offsets, buffers, encoding))


class StoredImages(Sequence[NDArray[np.uint8]]):
    """The images of a split, uint8 [H, W, 3]: views into the mapped shard where it is raw, else decoded when asked.

    `shapes_N2` are their heights and widths.
    """

    def __init__(
        self,
        shapes_N2: NDArray[np.int32],
        offsets: Sequence[NDArray[np.int64]],
        buffers: Sequence[NDArray[np.uint8]],
        encoding: Encoding,
    ) -> None:
        self.shapes_N2, self.encoding = shapes_N2, encoding
        self._offsets, self._buffers = offsets, buffers
        self._firsts = np.cumsum([0, *(len(each) - 1 for each in offsets)])

    def __len__(self) -> int:
        return len(self.shapes_N2)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[np.uint8]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.uint8] | Sequence[NDArray[np.uint8]]:
        if isinstance(index, slice):
            return self.many(range(*index.indices(len(self))))
        height, width = self.shapes_N2[index].tolist()
        data = self.data(index)
        if self.encoding == "raw":
            return data.reshape(height, width, 3)
        try:
            pixels_HWC = pixels_of_jpeg(data.tobytes())
        except (OSError, ValueError, SyntaxError) as error:
            raise BadInput(
                f"image {index} of a split does not decode ({error}). Was the dataset copied whole?"
            ) from None
        if pixels_HWC.shape != (height, width, 3):
            raise BadInput(f"image {index} of a split has the shape {pixels_HWC.shape}, not {(height, width, 3)}.")
        return pixels_HWC

    def data(self, index: int) -> NDArray[np.uint8]:
        """The bytes of one image in its encoding, as a view."""
        at = int(index) + (len(self) if index < 0 else 0)
        batch = int(np.searchsorted(self._firsts, at, side="right")) - 1
        start, end = self._offsets[batch][at - self._firsts[batch] :][:2].tolist()
        return self._buffers[batch][start:end]

    def many(self, indices: Iterable[int]) -> list[NDArray[np.uint8]]:
        """Some images, decoded on all cores where they must be."""
        if self.encoding == "raw":
            return [self[int(index)] for index in indices]
        return list(self._pool.map(self.__getitem__, (int(index) for index in indices)))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(num_cores(), thread_name_prefix="decode")
