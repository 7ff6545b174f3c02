"""The model as it is served here, and the images it is asked about."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.interchange.cards import OnnxCard
from components.interchange.dataset import Dataset
from components.interchange.errors import BadInput
from components.interchange.onnx_model import MODEL_FILE, answer, as_input, logits_of
from components.interchange.pixels import preprocess
from components.latency.measure import Call
from components.latency.session import open_session

MAX_IMAGES = 256


@dataclass(frozen=True)
class Served:
    """A model's folder, how it is served, its session and card, and images as uint8 [N, H, W, 3]."""

    folder: Path
    provider: str
    num_threads: int
    session: Any
    card: OnnxCard
    pixels_NHWC: NDArray[np.uint8]

    def call(self, batch: int = 1, session: Any = None) -> Call:
        """Ask about `batch` images a run, in turn, all made before anything is timed."""
        batches = [as_input(part, self.card.input) for part in _batches(self.pixels_NHWC, batch)]
        return lambda run: answer(session or self.session, batches[run % len(batches)])

    def call_otherwise(
        self, provider: str | None = None, num_threads: int | None = None, file: str = MODEL_FILE
    ) -> Call:
        """Ask a session that differs in what is given; BadInput where it cannot start."""
        started = open_session(self.folder, provider or self.provider, num_threads or self.num_threads, file)
        return self.call(session=started[0])

    def call_from_sources(self, dataset: Dataset) -> Call:
        """From the bytes of a source file to logits: decode, orient, resize, crop, model."""
        sources = [path.read_bytes() for path in dataset.originals().values()]
        if not sources:
            raise BadInput(
                "the dataset has no originals/ to measure end to end. Run ingest again, or --end-to-end-runs 0."
            )
        asked = self.card.preprocessing
        return lambda run: logits_of(self.session, preprocess(sources[run % len(sources)], asked)[None])


def serve(folder: Path, dataset: Dataset, provider: str, num_threads: int) -> Served:
    """Open the model and take up to MAX_IMAGES test images for it."""
    session, card = open_session(folder, provider, num_threads)
    return Served(folder, provider, num_threads, session, card, _test_images(dataset, card.preprocessing.crop_px))


def _test_images(dataset: Dataset, crop_px: int) -> NDArray[np.uint8]:
    """Centre crops of up to MAX_IMAGES test images, uint8 [N, H, W, 3]."""
    if dataset.manifest.stored_size_px < crop_px:
        raise BadInput(
            f"the dataset stores images with a short side of {dataset.manifest.stored_size_px} px; the model's input "
            f"is {crop_px} px. Give the dataset that the model was made from."
        )
    test = dataset.split("test")
    if not len(test):
        raise BadInput("the dataset's test split is empty: there are no images to feed.")
    return test.center_crops(range(min(len(test), MAX_IMAGES)), crop_px)


def _batches(pixels_NHWC: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    """Batches of `size`; images repeat where there are fewer than `size`."""
    num_batches = max(1, len(pixels_NHWC) // size)
    rows = np.arange(num_batches * size) % len(pixels_NHWC)
    return [pixels_NHWC[rows[start : start + size]] for start in range(0, len(rows), size)]
