"""Both sides of the ingest benchmarks: our step, and the loop that people write by hand. Each gives images a second."""

import tempfile
import time
from pathlib import Path

from PIL import Image, ImageOps

from components.ingest.spec import Ingest
from components.interchange.cli import main

SHORT_PX = 256
PEER_NAME = "PIL open, exif_transpose, convert, resize (bicubic), save JPEG, in a loop"


def ingested_per_s(source: Path, num_images: int, *flags: str) -> float:
    """The whole step, from its command line, reports and all."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"--{name}={Path(folder) / name}" for name in ("dataset", "report")]
        started = time.perf_counter()
        if main(Ingest, [f"--source={source}", f"--stored-size-px={SHORT_PX}", *places, *flags]):
            raise RuntimeError("ingest failed")
        return num_images / (time.perf_counter() - started)


def plain_per_s(source: Path, num_images: int) -> float:
    """One file after the other; nothing is checked, split or counted."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for number, path in enumerate(sorted(source.rglob("*.jpg"))):
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(opened).convert("RGB")
            width, height = image.size
            short = min(width, height)
            small = image.resize((width * SHORT_PX // short, height * SHORT_PX // short), Image.Resampling.BICUBIC)
            small.save(Path(folder) / f"{number}.jpg", quality=95)
        seconds = time.perf_counter() - started
        if number + 1 != num_images:
            raise RuntimeError(f"{number + 1} images, expected {num_images}")
        return num_images / seconds
