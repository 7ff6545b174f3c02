"""Predictions from the onnx_model artifact alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
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


def test_logits_are_divided_by_the_temperature_of_the_card(
    tiny_onnx_model: Path, copied: Callable[[Path], Path]
) -> None:
    folder = copied(tiny_onnx_model)
    with_temperature(folder, 0.25, 0.25)
    sample = golden_of(folder)[0]
    (found,) = predict(folder, [folder / str(sample["source"])])
    expected_C = softmax(np.array([sample["logits"]], np.float64) / 0.25)[0]
    np.testing.assert_allclose(list(found.probabilities.values()), expected_C, atol=1e-5)
    assert not np.allclose(softmax(np.array([sample["logits"]]))[0], expected_C, atol=1e-3)


def with_temperature(folder: Path, on_card: float | None, in_file: float | None) -> None:
    """Write a temperature into an onnx_model's card and file; None takes it out, as before it existed."""
    card = json.loads((folder / "card.json").read_text())
    model = onnx.load(folder / "model.onnx")
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    del card["temperature"], metadata["temperature"]
    if on_card is not None:
        card["temperature"] = on_card
    if in_file is not None:
        metadata["temperature"] = json.dumps(in_file)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, folder / "model.onnx")
    (folder / "card.json").write_text(json.dumps(card))


def test_a_model_from_before_the_temperature_still_answers(
    tiny_onnx_model: Path, copied: Callable[[Path], Path]
) -> None:
    folder = copied(tiny_onnx_model)
    with_temperature(folder, None, None)
    image = folder / str(golden_of(folder)[0]["source"])
    (found,), (now,) = predict(folder, [image]), predict(tiny_onnx_model, [image])
    assert found.probabilities == now.probabilities


@pytest.mark.parametrize(
    ("on_card", "in_file", "words"),
    [
        (2.0, None, "'temperature' is 1.0, the card says 2.0"),
        (None, 2.0, "'temperature' is 2.0, the card says 1.0"),
        (0.0, 0.0, r"temperature \(input should be greater than 0\)"),
    ],
)
def test_a_temperature_that_card_and_file_do_not_share_or_that_is_none_is_refused(
    tiny_onnx_model: Path, copied: Callable[[Path], Path], on_card: float | None, in_file: float | None, words: str
) -> None:
    folder = copied(tiny_onnx_model)
    with_temperature(folder, on_card, in_file)
    with pytest.raises(BadInput, match=words):
        predict(folder, [Path("any.png")])


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
