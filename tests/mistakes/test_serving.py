"""Mistakes between data, evaluation and serving, made through the command line: impossible, refused, or shown."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from PIL import Image

from components.evaluate.spec import Evaluate
from components.export_onnx.spec import ExportOnnx
from components.ingest.spec import Ingest
from components.interchange import classifier
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.inference import predict_logits
from components.interchange.pixels_to_logits import PixelsToLogits
from tests.conftest import coloured_pixels, write_source


def evaluate(dataset: Path, candidate: Path, out: Path) -> int:
    places = {"dataset": dataset, "candidate": candidate, "selected": out / "s", "report": out / "r"}
    argv = [part for name, place in places.items() for part in (f"--{name}", str(place))]
    return main(Evaluate, [*argv, "--device", "cpu", "--bootstrap-samples", "100"])


def test_another_class_order_than_in_training_is_refused(
    copied: Callable[[Path], Path],
    tiny_dataset: Path,
    tiny_classifier: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = copied(tiny_classifier)
    card = json.loads((other / "card.json").read_text())
    card["classes"] = card["classes"][::-1]
    (other / "card.json").write_text(json.dumps(card))
    assert evaluate(tiny_dataset, other, tmp_path) == 2
    assert "are not the dataset's" in capsys.readouterr().err


def test_copies_of_an_image_cannot_be_in_train_and_test(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", 20)
    for path in sorted((source / "red").iterdir())[:10]:
        for copy in ("a", "b", "c"):
            (source / "red" / f"{copy} {path.name}").write_bytes(path.read_bytes())
        with Image.open(path) as image:  # The same pixels in other bytes.
            image.save(source / "red" / f"{path.stem}.bmp")
    argv = ["--source", str(source), "--dataset", str(tmp_path / "d"), "--report", str(tmp_path / "r")]
    assert main(Ingest, [*argv, "--stored-size-px", "40", "--max-near-bits", "-1"]) == 0
    dataset = open_dataset(tmp_path / "d")
    pictures = [image.tobytes() for split in ("train", "val", "test") for image in dataset.split(split).images]
    assert len(pictures) == len(set(pictures)) == 60


def test_scores_do_not_depend_on_the_mode_that_a_model_is_in(tiny_classifier: Path, tiny_dataset: Path) -> None:
    model, card = classifier.load(tiny_classifier)
    wrapped = PixelsToLogits(model, card.preprocessing)
    pixels_NHWC = open_dataset(tiny_dataset).split("val").center_crops(range(10), card.preprocessing.crop_px)
    cpu = torch.device("cpu")
    expected_NC = predict_logits(wrapped.eval(), iter([pixels_NHWC]), cpu)
    found_NC = predict_logits(wrapped.train(), iter([pixels_NHWC]), cpu)
    np.testing.assert_array_equal(found_NC, expected_NC)
    assert not wrapped.training


def test_the_export_is_in_eval_mode_takes_any_batch_and_says_opset_and_classes(tiny_onnx_model: Path) -> None:
    path = tiny_onnx_model / "model.onnx"
    assert [(one.domain, one.version) for one in onnx.load(path).opset_import] == [("", 17)]
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["blue", "green", "red"]
    rng = np.random.default_rng(0)
    image_HWC = np.array(Image.fromarray(coloured_pixels("red", rng)).resize((32, 32)))
    alone_NC = session.run(None, {"pixels": image_HWC[None]})[0]
    others_NHWC = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    among_NC = session.run(None, {"pixels": np.concatenate([image_HWC[None], others_NHWC])})[0]
    # In train mode BatchNorm would mix the images of a batch.
    np.testing.assert_allclose(among_NC[:1], alone_NC, atol=1e-4)


def test_an_opset_that_does_not_exist_is_refused(
    tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--dataset", str(tiny_dataset), "--selected", str(tiny_classifier), "--report", str(tmp_path / "r")]
    assert main(ExportOnnx, [*argv, "--onnx-model", str(tmp_path / "m"), "--opset", "11"]) == 2
    assert "opset" in capsys.readouterr().err
