"""One split on its way to the disk: decoded by all cores, in order, a bounded number of images in memory.

Legend: H height, W width, C 3 channels (RGB).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.ingest.files import SourceFile
from components.ingest.identity import Identified
from components.ingest.parallel import in_order
from components.ingest.perceptual import Look, look
from components.ingest.statistics import Tally
from components.interchange.dataset import SplitName, StoredImage, write_shards
from components.interchange.ledgers import Quarantined, Sample
from components.interchange.pixels import BrokenImage, decode_short, to_array
from components.interchange.preprocessing import Interpolation
from components.interchange.progress import progress


class Pixels(NamedTuple):
    """A stored image, uint8 RGB, how it looks, and what its source was."""

    pixels_HWC: NDArray[np.uint8]
    look: Look
    width_px: int
    height_px: int
    format: str


def read_pixels(file: SourceFile, short_px: int, interpolation: Interpolation) -> Pixels | BrokenImage:
    """One source file as it is stored, or what is wrong with it."""
    try:
        decoded = decode_short(file.read(), short_px, interpolation)
    except BrokenImage as broken:
        return broken
    return Pixels(to_array(decoded.image), look(decoded.image), decoded.width_px, decoded.height_px, decoded.format)


class SplitWriter:
    """Writes one split and remembers what went in: samples, quarantined files, shards, the tally of the pixels."""

    def __init__(self, split: SplitName, classes: list[str], short_px: int, interpolation: Interpolation) -> None:
        self.split, self.classes = split, classes
        self.short_px, self.interpolation = short_px, interpolation
        self.samples: list[Sample] = []
        self.quarantined: list[Quarantined] = []
        self.shards: list[str] = []
        self.tally = Tally()

    def write(self, folder: Path, entries: list[Identified], num_threads: int) -> None:
        """Decode the entries and write them in their order; broken ones go to `quarantined`."""
        self.shards = write_shards(folder, self.split, self.tally.watch(self._stored(entries, num_threads)))

    def _stored(self, entries: list[Identified], num_threads: int) -> Iterator[StoredImage]:
        def read(entry: Identified) -> Pixels | BrokenImage:
            return read_pixels(entry.source.file, self.short_px, self.interpolation)

        results: Iterable[Pixels | BrokenImage] = in_order(read, entries, num_threads)
        results = progress(results, f"ingest: decoding {self.split}", total=len(entries))
        for entry, result in zip(entries, results, strict=True):
            path, label = entry.source.path, entry.source.label
            if isinstance(result, BrokenImage):
                self.quarantined.append(Quarantined(path, result.reason, result.detail))
                continue
            self.samples.append(
                Sample(
                    id=entry.id,
                    path=path,
                    label=label,
                    split=self.split,
                    group=entry.source.group,
                    width=result.width_px,
                    height=result.height_px,
                    format=result.format,
                    phash=result.look.phash,
                    brightness=result.look.brightness,
                    attributes=entry.source.attributes,
                )
            )
            yield StoredImage(entry.id, self.classes.index(label), result.pixels_HWC)
