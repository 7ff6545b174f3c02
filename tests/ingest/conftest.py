"""Sources and runs of ingest: real files, the real command line, in process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.ingest.spec import Ingest
from components.interchange.cli import main
from components.interchange.dataset import Dataset, open_dataset

Run = Callable[..., Dataset]
Refuse = Callable[..., str]


def picture(seed: int, width: int = 12, height: int = 10) -> Image.Image:
    """A noisy picture, another one for every seed."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """A source folder: two classes, 30 PNGs each."""
    for shift, label in enumerate(("cat", "dog")):
        folder = tmp_path / "animals" / label
        folder.mkdir(parents=True)
        for number in range(30):
            picture(1000 * shift + number).save(folder / f"{number:02d}.png")
    return tmp_path / "animals"


@pytest.fixture
def ingest(tmp_path: Path) -> Run:
    """`ingest(source, *flags, to=NAME)` runs the step and opens its dataset; the report lies in NAME-report."""

    def run(source: Path | str, *flags: str, to: str = "dataset") -> Dataset:
        dataset, report = tmp_path / to, tmp_path / f"{to}-report"
        places = ["--source", str(source), "--dataset", str(dataset), "--report", str(report)]
        assert main(Ingest, [*places, "--stored-size-px", "8", *flags]) == 0
        return open_dataset(dataset)

    return run


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """`refused(source, *flags)` expects exit code 2 with nothing left behind, and gives the one message."""

    def run(source: Path | str, *flags: str) -> str:
        place = tmp_path / "refused"
        capsys.readouterr()
        outputs = ["--dataset", str(place / "dataset"), "--report", str(place / "report")]
        assert main(Ingest, ["--source", str(source), "--stored-size-px", "8", *outputs, *flags]) == 2
        assert not place.exists() or not list(place.iterdir())
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        messages = [line for line in shown.splitlines() if line.startswith("ingest: ") and "%|" not in line]
        assert len(messages) == 1
        return messages[0].removeprefix("ingest: ")

    return run
