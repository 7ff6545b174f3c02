"""The dataset artifact: uint8 RGB images in Arrow IPC shards, memory-mapped; a manifest and two ledgers.

    manifest.json  samples.parquet  quarantine.parquet  originals/<id><suffix>  {train,val,test}-00000.arrow

A shard's columns: id (sha256 of the source bytes), label (int32), height, width (int32, pixels), pixels (height *
width * 3 bytes, RGB). Images keep their aspect ratio; their short side is `stored_size_px`.
Legend: N images, H height, W width, C 3 channels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from components.interchange.artifact import digest, read_card
from components.interchange.errors import BadInput, listed
from components.interchange.ledgers import Quarantined, Sample, read_quarantine, read_samples
from components.interchange.preprocessing import Interpolation

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
ROWS_PER_BATCH = 64
BYTES_PER_BATCH = 32 << 20
BYTES_PER_SHARD = 1 << 30
ID_LENGTH = 64  # sha256 in hex
FEW_TRAIN_IMAGES = 500  # Below, fine-tuning mostly learns the noise of its few images.
ORIGINALS_FOLDER = "originals"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("pixels", pa.large_binary()),
    ]
)


class ChannelStatistics(BaseModel):
    """Per-channel mean and standard deviation of the training pixels, RGB on [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Manifest(BaseModel):
    """What a dataset is. `counts[split][class]` are images; `digests[split]` cover ids, labels and pixels."""

    model_config = ConfigDict(extra="ignore")

    format: str
    classes: list[str]
    stored_size_px: int
    interpolation: Interpolation
    counts: dict[str, dict[str, int]]
    quarantined: int
    split_policy: dict[str, Any]
    shards: dict[str, list[str]]
    digests: dict[str, str]
    statistics: ChannelStatistics


class StoredImage(NamedTuple):
    """One decoded image: `pixels_HWC` is uint8 RGB."""

    id: str
    label: int
    pixels_HWC: NDArray[np.uint8]


def write_shards(folder: Path, split: SplitName, images: Iterable[StoredImage]) -> list[str]:
    """Write the images of one split and return the shards' file names. Holds one batch in memory at a time."""
    names: list[str] = []
    batches = _batches(images)
    batch = next(batches, None)
    while batch is not None:
        names.append(f"{split}-{len(names):05d}.arrow")
        with pa.ipc.new_file(str(folder / names[-1]), SCHEMA) as writer:
            written = 0
            while batch is not None and written < BYTES_PER_SHARD:
                writer.write_batch(batch)
                written += batch.nbytes
                batch = next(batches, None)
    return names


def _batches(images: Iterable[StoredImage]) -> Iterator[pa.RecordBatch]:
    rows: list[StoredImage] = []
    for image in images:
        rows.append(image)
        if len(rows) == ROWS_PER_BATCH or sum(row.pixels_HWC.nbytes for row in rows) >= BYTES_PER_BATCH:
            yield _batch(rows)
            rows = []
    if rows:
        yield _batch(rows)


def _batch(rows: list[StoredImage]) -> pa.RecordBatch:
    offsets = np.cumsum([0, *(row.pixels_HWC.nbytes for row in rows)], dtype=np.int64)
    pixels = pa.py_buffer(b"".join(np.ascontiguousarray(row.pixels_HWC).data for row in rows))
    return pa.record_batch(
        [
            pa.array([row.id for row in rows], pa.string()),
            pa.array([row.label for row in rows], pa.int32()),
            pa.array([row.pixels_HWC.shape[0] for row in rows], pa.int32()),
            pa.array([row.pixels_HWC.shape[1] for row in rows], pa.int32()),
            pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(rows), [None, pa.py_buffer(offsets), pixels]),
        ],
        schema=SCHEMA,
    )


@dataclass(frozen=True)
class Split:
    """One side of the split, read without copying: `images[i]` is a uint8 HWC view into the memory-mapped shard."""

    name: SplitName
    ids: list[str]
    labels_N: NDArray[np.int64]
    images: Sequence[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.ids)

    def center_crops(self, indices: Iterable[int], crop_px: int) -> NDArray[np.uint8]:
        """Centre crops as uint8 [n, crop_px, crop_px, 3]; the offset is rounded down, as in `pixels.center_crop`."""
        chosen = [int(index) for index in indices]
        crops_NHWC = np.empty((len(chosen), crop_px, crop_px, 3), np.uint8)
        for row, index in enumerate(chosen):
            image = self.images[index]
            top, left = (image.shape[0] - crop_px) // 2, (image.shape[1] - crop_px) // 2
            crops_NHWC[row] = image[top : top + crop_px, left : left + crop_px]
        return crops_NHWC


@dataclass(frozen=True)
class Dataset:
    """A dataset artifact, opened."""

    folder: Path
    manifest: Manifest

    @property
    def classes(self) -> list[str]:
        return self.manifest.classes

    def digest(self) -> str:
        """The artifact's content digest."""
        return digest(self.folder)

    def split(self, name: SplitName) -> Split:
        """Open one split. The shards stay mapped as long as the split's images are in use."""
        ids: list[str] = []
        labels: list[NDArray[np.int64]] = []
        images: list[NDArray[np.uint8]] = []
        for shard in self.manifest.shards[name]:
            path = self.folder / shard
            if not path.is_file():
                raise BadInput(f"{self.folder} lacks the shard {shard} that its manifest names. Was it copied whole?")
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                ids += batch.column("id").to_pylist()
                labels.append(batch.column("label").to_numpy().astype(np.int64))
                images += _views(batch)
        labels_N = np.concatenate(labels) if labels else np.zeros(0, np.int64)
        return Split(name, ids, labels_N, images)

    def samples(self) -> list[Sample]:
        """Every image that was taken, in the order of the shards: train, val, test."""
        return read_samples(self.folder)

    def quarantine(self) -> list[Quarantined]:
        """Every file that was not taken, with the reason."""
        return read_quarantine(self.folder)

    def originals(self) -> dict[str, Path]:
        """The untouched source files of some test images, by id, sorted."""
        folder = self.folder / ORIGINALS_FOLDER
        if not folder.is_dir():
            raise BadInput(f"{self.folder} has no {ORIGINALS_FOLDER}. Was the dataset copied whole?")
        return {path.name[:ID_LENGTH]: path for path in sorted(folder.iterdir())}


def _views(batch: pa.RecordBatch) -> list[NDArray[np.uint8]]:
    heights, widths = batch.column("height").to_numpy(), batch.column("width").to_numpy()
    _, offsets_buffer, data = batch.column("pixels").buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)
    flat = np.frombuffer(data, np.uint8)
    return [
        flat[offsets[row] : offsets[row + 1]].reshape(heights[row], widths[row], 3) for row in range(batch.num_rows)
    ]


def open_dataset(folder: Path) -> Dataset:
    """Open a dataset artifact; BadInput when it is missing, damaged or of a newer format."""
    try:
        manifest = Manifest.model_validate(read_card(folder, "dataset"))
    except ValidationError as error:
        wrong = listed(problem["loc"][0] for problem in error.errors())
        raise BadInput(f"{folder / 'manifest.json'} is damaged: missing or wrong: {wrong}.") from None
    return Dataset(folder, manifest)
