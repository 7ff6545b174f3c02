"""The export step on a tiny real classifier: what is in the artifact, and that planted faults are found."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow.parquet as pq
import pytest
import torch

from components.export_onnx.images import for_parity
from components.export_onnx.spec import ExportOnnx
from components.interchange import classifier
from components.interchange.artifact import digest
from components.interchange.cards import read_onnx_card
from components.interchange.cli import main
from components.interchange.dataset import SPLITS, open_dataset
from components.interchange.lineage import LineageImage, read_images
from components.interchange.onnx_model import logits_of, open_model
from components.interchange.report import read_report


def export_argv(dataset: Path, selected: Path, out: Path, *more: str) -> list[str]:
    places = {"dataset": dataset, "selected": selected, "onnx-model": out / "onnx_model", "report": out / "report"}
    return [part for name, place in places.items() for part in (f"--{name}", str(place))] + ["--device", "cpu", *more]


def test_file_says_opset_17_and_takes_raw_pixels(tiny_onnx_model: Path) -> None:
    model = onnx.load(tiny_onnx_model / "model.onnx")
    assert [(imported.domain, imported.version) for imported in model.opset_import] == [("", 17)]
    session = ort.InferenceSession(tiny_onnx_model / "model.onnx", providers=["CPUExecutionProvider"])
    (pixels,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (pixels.name, pixels.type, pixels.shape) == ("pixels", "tensor(uint8)", ["batch", 32, 32, 3])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 3])
    for batch in (1, 3, 11):
        answer = session.run(None, {"pixels": np.zeros((batch, 32, 32, 3), np.uint8)})[0]
        assert answer.shape == (batch, 3)


def test_a_small_test_set_is_filled_up_with_val_and_train(tiny_dataset: Path) -> None:
    dataset = open_dataset(tiny_dataset)
    ids = {name: sorted(dataset.split(name).ids) for name in SPLITS}
    assert for_parity(dataset, 20, 32).ids == ids["test"][:20]
    images = for_parity(dataset, 70, 32)
    assert images.ids == ids["test"] + ids["val"] + ids["train"][:10]
    assert images.pixels_NHWC.shape == (70, 32, 32, 3) and images.labels_N.shape == (70,)
    train = dataset.split("train")
    assert [train.labels_N[train.ids.index(name)] for name in images.ids[60:]] == images.labels_N[60:].tolist()


def test_mean_and_std_are_as_wide_as_a_row(tiny_onnx_model: Path) -> None:
    model = onnx.load(tiny_onnx_model / "model.onnx")
    constants = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    normalising = [constants.get(node.input[1]) for node in model.graph.node if node.op_type in ("Sub", "Div")]
    assert normalising == [[1, 3, 1, 32]] * 2  # Three numbers at a time cost an int8 ResNet18 a sixth of its time.


def test_logits_are_those_of_torch_with_normalised_pixels(
    tiny_onnx_model: Path, tiny_classifier: Path, tiny_dataset: Path
) -> None:
    model, card = classifier.load(tiny_classifier)
    pixels_NHWC = open_dataset(tiny_dataset).split("val").center_crops(range(5), 32)
    mean, std = torch.tensor(card.preprocessing.mean), torch.tensor(card.preprocessing.std)
    images_NCHW = ((torch.from_numpy(pixels_NHWC) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected_NC = model(images_NCHW).numpy()
    session, _ = open_model(tiny_onnx_model)
    np.testing.assert_allclose(session.run(None, {"pixels": pixels_NHWC})[0], expected_NC, atol=1e-4)


def test_same_bytes_twice_and_nothing_of_this_machine(
    tiny_onnx_model: Path, tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    assert main(ExportOnnx, export_argv(tiny_dataset, tiny_classifier, tmp_path, "--golden-samples", "3")) == 0
    again = tmp_path / "onnx_model"
    assert (again / "model.onnx").read_bytes() == (tiny_onnx_model / "model.onnx").read_bytes()
    assert digest(again) == digest(tiny_onnx_model)
    assert digest(tmp_path / "report") == digest(tiny_onnx_model.parent / "report")
    model = onnx.load(again / "model.onnx")
    for private in (b".py", str(Path(__file__).parents[2]).encode(), str(Path.home()).encode() + b"/"):
        assert private not in (again / "model.onnx").read_bytes()
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


def test_metadata_and_card_tell_the_same(tiny_onnx_model: Path, tiny_classifier: Path) -> None:
    card = read_onnx_card(tiny_onnx_model)
    model = onnx.load(tiny_onnx_model / "model.onnx")
    metadata = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    assert metadata["classes"] == card.classes == ["blue", "green", "red"]
    assert metadata["preprocessing"] == card.preprocessing.model_dump(mode="json")
    assert metadata["provenance"]["classifier_digest"] == card.classifier_digest == digest(tiny_classifier)
    assert (card.opset, card.eligible, card.ineligible_because) == (17, True, [])


def test_report_of_a_faithful_export(tiny_onnx_model: Path) -> None:
    report = read_report(tiny_onnx_model.parent / "report")
    values = {row.name: row.value for row in report.rows}
    assert values["opset"] == 17
    assert (values["parity_samples"], values["flips"]) == (120, 0)  # Test has 30, val 30, train 60.
    assert 0 < values["max_abs_diff"] < 1e-4
    assert values["model_bytes"] == (tiny_onnx_model / "model.onnx").stat().st_size
    assert report.details["eligible"] is True
    assert report.details["batches"] == [1, 2, 7, 32]
    assert report.details["flips"] == []
    for setting in ("optimisation all, batch 1", "optimisation all, batch 32", "optimisation none, batch 32"):
        for name, most in (("max_abs_diff", 1e-4), ("ece_difference", 1e-3), ("nll_difference", 1e-4)):
            row = report.row(name, f"CPUExecutionProvider, {setting}")
            assert row is not None and row.n == 120 and abs(row.value) < most


def test_floats_for_servers_that_want_them(
    tiny_onnx_model: Path, tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    argv = export_argv(tiny_dataset, tiny_classifier, tmp_path, "--input", "float32-nchw", "--golden-samples", "1")
    assert main(ExportOnnx, argv) == 0
    session, card = open_model(tmp_path / "onnx_model")
    raw, _ = open_model(tiny_onnx_model)
    assert (card.input, card.eligible) == ("float32-nchw", True)
    assert session.get_inputs()[0].shape == ["batch", 3, 32, 32]
    pixels_NHWC = open_dataset(tiny_dataset).split("val").center_crops(range(3), 32)
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2) / 255
    answer_NC = session.run(None, {"pixels": images_NCHW.numpy()})[0]
    np.testing.assert_allclose(answer_NC, logits_of(raw, pixels_NHWC), atol=1e-4)
    np.testing.assert_array_equal(logits_of(session, pixels_NHWC), answer_NC)  # Predict and latency feed it this way.
    (sample,) = json.loads((tmp_path / "onnx_model" / "golden.json").read_text())["samples"]
    fed = np.load(tmp_path / "onnx_model" / sample["pixels"]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_allclose(session.run(None, {"pixels": fed})[0][0], sample["logits"], rtol=1e-5)


def test_golden_samples_are_readable_without_our_code(tiny_onnx_model: Path, tiny_dataset: Path) -> None:
    samples = json.loads((tiny_onnx_model / "golden.json").read_text())["samples"]
    assert len(samples) == 3
    test = open_dataset(tiny_dataset).split("test")
    session = ort.InferenceSession(tiny_onnx_model / "model.onnx", providers=["CPUExecutionProvider"])
    for sample in samples:
        pixels_NHWC = np.load(tiny_onnx_model / sample["pixels"])
        stored_NHWC = test.center_crops([test.ids.index(sample["id"])], 32)
        np.testing.assert_array_equal(pixels_NHWC, stored_NHWC)  # What clients feed is what training saw.
        logits_NC = session.run(None, {"pixels": pixels_NHWC})[0]
        np.testing.assert_allclose(logits_NC[0], sample["logits"], rtol=1e-6)
        assert (tiny_onnx_model / sample["source"]).read_bytes()[:4] == b"\x89PNG"


def test_lineage_names_every_image_with_its_side_and_its_look(tiny_onnx_model: Path, tiny_dataset: Path) -> None:
    samples = pq.read_table(tiny_dataset / "samples.parquet", columns=list(LineageImage._fields)).to_pylist()
    assert [image._asdict() for image in read_images(tiny_onnx_model)] == samples
    assert {sample["split"] for sample in samples} == {"train", "val", "test"}
    facts = json.loads((tiny_onnx_model / "lineage" / "lineage.json").read_text())
    assert facts["dataset_digest"] == digest(tiny_dataset)
    assert len(facts["code_digest"]) == 64
    assert set(facts["specs"]) == {"finetune", "export_onnx"}


def test_a_wrong_mean_in_the_graph_is_reported_and_not_eligible(
    tiny_onnx_model: Path, tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_wrong_mean(*_: object) -> onnx.ModelProto:
        wrong = onnx.load(tiny_onnx_model / "model.onnx")
        values = np.array([0, 255, 0], np.float32).reshape(1, 3, 1, 1)
        wrong.graph.initializer.append(onnx.numpy_helper.from_array(values, "wrong mean"))
        (subtraction,) = [node for node in wrong.graph.node if node.op_type == "Sub"]
        subtraction.input[1] = "wrong mean"
        return wrong

    monkeypatch.setattr("components.export_onnx.run.to_onnx", with_wrong_mean)
    assert main(ExportOnnx, export_argv(tiny_dataset, tiny_classifier, tmp_path)) == 0
    report, card = read_report(tmp_path / "report"), read_onnx_card(tmp_path / "onnx_model")
    difference, flips = report.row("max_abs_diff"), report.row("flips")
    assert difference is not None and difference.value > 0.01
    assert flips is not None and flips.value == len(report.details["flips"])
    assert card.eligible is False
    assert card.ineligible_because == report.details["ineligible_because"]
    assert any("the largest logit difference is" in reason for reason in card.ineligible_because)


def test_refuses_another_dataset_and_an_unknown_opset(
    tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path, copied: object, capsys: pytest.CaptureFixture[str]
) -> None:
    other = copied(tiny_dataset)  # type: ignore[operator]
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"quarantined": 1}))
    assert main(ExportOnnx, export_argv(other, tiny_classifier, tmp_path)) == 2
    assert "was trained on the dataset" in capsys.readouterr().err
    assert main(ExportOnnx, export_argv(tiny_dataset, tiny_classifier, tmp_path, "--opset", "16")) == 2
    assert "--opset" in capsys.readouterr().err
    assert not (tmp_path / "onnx_model").exists()
