"""Predictions from the onnx_model artifact alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.interchange.errors import BadInput
from components.interchange.scoring import softmax
from pipelines.predict import predict


def golden_of(folder: Path) -> list[dict[str, object]]:
    samples: list[dict[str, object]] = json.loads((folder / "golden.json").read_text())["samples"]
    return samples


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_probabilities_are_those_of_the_golden_samples(tiny_onnx_model: Path, batch_size: int) -> None:
    samples = golden_of(tiny_onnx_model)
    paths = [tiny_onnx_model / str(sample["source"]) for sample in samples]
    found = list(predict(tiny_onnx_model, paths, batch_size))
    assert [prediction.path for prediction in found] == paths
    for sample, prediction in zip(samples, found, strict=True):
        expected_C = softmax(np.array([sample["logits"]], np.float32))[0]
        assert list(prediction.probabilities) == ["blue", "green", "red"]
        np.testing.assert_allclose(list(prediction.probabilities.values()), expected_C, atol=1e-5)
        assert prediction.top_class == ["blue", "green", "red"][int(expected_C.argmax())]


def test_unreadable_images_are_listed_together_after_the_readable_ones(tiny_onnx_model: Path, tmp_path: Path) -> None:
    good = tmp_path / "schön & gut.png"
    Image.new("RGB", (60, 50), (200, 60, 40)).save(good)
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    missing = tmp_path / "missing.png"
    found = []
    with pytest.raises(BadInput, match=r"2 of 3 images cannot be read: .*text\.jpg \(not an image.*missing\.png \("):
        for prediction in predict(tiny_onnx_model, [text, missing, good], 2):
            found.append(prediction)
    assert [prediction.path for prediction in found] == [good]


def test_no_images_and_a_damaged_model_are_refused_at_once(
    tiny_onnx_model: Path, copied: Callable[[Path], Path]
) -> None:
    with pytest.raises(BadInput, match="no images were given"):
        predict(tiny_onnx_model, [])
    folder = copied(tiny_onnx_model)
    (folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BadInput, match="cannot be loaded"):
        predict(folder, [Path("any.png")])


def test_needs_neither_torch_nor_pyarrow(tiny_onnx_model: Path) -> None:
    image = tiny_onnx_model / str(golden_of(tiny_onnx_model)[0]["source"])
    program = (
        "import sys\nfrom pathlib import Path\nfrom pipelines.predict import predict\n"
        f"(found,) = predict(Path({str(tiny_onnx_model)!r}), [Path({str(image)!r})], 1)\n"
        "print(found.top_class, *sorted({'torch', 'pyarrow', 'scipy', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() in (["blue"], ["green"], ["red"])
