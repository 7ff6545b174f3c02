"""Right and faulty clients of a real model: EfficientNet-Lite0 on photographs of fabric. `make test-conformance`.

The photographs are grey, square and smaller than what they are resized to: the hardest images to tell a client by.
"""

import shlex
import sys
from pathlib import Path

import pytest

from pipelines.conformance import Conformance, check
from tests.lite0 import exported

CLIENT = Path(__file__).with_name("serving_client.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("lite0"), 200).onnx_model


def judged(fault: str, model: Path) -> Conformance:
    found = check(model, shlex.join([sys.executable, str(CLIENT), fault, str(model)]))
    print(f"{fault}: {found.words()}")
    return found


@pytest.mark.parametrize("fault", ["none", "other decoder", "torchvision", "probabilities", "probabilities 4 decimals"])
def test_a_right_client_passes(model: Path, fault: str) -> None:
    found = judged(fault, model)
    assert found.conforms and not found.departs, found.words()


@pytest.mark.parametrize(
    ("fault", "subject", "words"),
    [
        ("wrong mean", "normalisation", "as if with another mean or std: about mean ("),
        ("BGR", "colour order", "the channels are BGR, not RGB"),
        ("grey", "colour order", "the image is turned to grey"),
        ("other filter", "resize filter", "the filter is nearest, not bicubic"),
        ("lanczos", "resize filter", "the filter is lanczos, not bicubic"),
        ("no antialias", "resize filter", "bilinear without antialiasing (as OpenCV resizes)"),
        ("squash", "resize size", "the image is squashed to 224x224 instead of resized and cropped"),
        ("long side", "resize size", "the long side is rounded to the nearest pixel, not down"),
        ("crop to even", "crop", "the crop's offset is rounded up, not down (torchvision rounds to even)"),
        ("no EXIF", "orientation", "the EXIF orientation is not applied"),
        ("reshaped", "layout", "channels-first pixels are reshaped to channels-last, not transposed"),
        ("axes swapped", "layout", "height and width are swapped"),
        ("shuffled classes", "class order", "the classes are shuffled: "),
    ],
)
def test_a_fault_is_named(model: Path, fault: str, subject: str, words: str) -> None:
    found = judged(fault, model)
    assert not found.conforms, found.words()
    assert found.departs[0][0] == subject and found.departs[0][1].startswith(words), found.words()


def test_two_small_faults_at_once_depart(model: Path) -> None:
    found = judged("BGR, crop to even", model)  # Each shows on mosaics alone, and neither explains the other.
    assert not found.conforms, found.words()
