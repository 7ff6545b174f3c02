"""The evaluate step through its command line, on real classifiers and a real champion."""

import json
import re
from pathlib import Path

import pytest
import torch

from components.evaluate import champion_model, temperature
from components.evaluate.scores import Intervals
from components.evaluate.spec import Evaluate
from components.export_onnx.spec import ExportOnnx
from components.interchange import classifier, scoring
from components.interchange.artifact import digest
from components.interchange.cards import read_classifier_card, read_onnx_card
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.inference import predict_logits
from components.interchange.onnx_model import open_model
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import Report, read_report
from tests.evaluate.conftest import write_champion


def evaluate(out: Path, dataset: Path, *extra: str, code: int = 0) -> Report | None:
    argv = ["--dataset", str(dataset), "--selected", str(out / "selected"), "--report", str(out / "report")]
    assert main(Evaluate, [*argv, "--bootstrap-samples", "200", "--device", "cpu", *extra]) == code
    return read_report(out / "report") if code == 0 else None


@pytest.fixture(scope="module")
def compared(tmp_path_factory, tiny_dataset, tiny_classifier, learnt) -> Path:
    out = tmp_path_factory.mktemp("compared")
    evaluate(out, tiny_dataset, "--baseline", str(tiny_classifier), "--candidate", str(learnt))
    return out


def test_the_better_classifier_is_selected(compared, learnt):
    report = read_report(compared / "report")

    assert report.details["selected"] == "finetune"
    assert report.details["selected_digest"] == digest(compared / "selected")
    assert read_classifier_card(compared / "selected").uncalibrated_digest == digest(learnt)
    assert report.details["num_train"] == 60
    assert "expected to win" in report.details["expectation"]
    gain = report.row("top1_difference", "candidate-baseline", "test")
    assert gain.n == 30
    assert 0 < gain.low <= gain.value <= gain.high
    p = report.row("mcnemar_p", "candidate-baseline", "test")
    assert p.n == 30
    assert 0 < p.value < 0.05
    assert report.row("mcnemar_p", "candidate-baseline", "val").value < 0.05


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, tiny_dataset, biased) -> Path:
    out = tmp_path_factory.mktemp("calibrated")
    evaluate(out, tiny_dataset, "--candidate", str(biased), "--wanted-precision", "0.8")
    return out


def test_the_selected_differs_from_the_winner_in_what_its_card_says_of_the_temperature_alone(calibrated, biased):
    found, winner = (json.loads((folder / "card.json").read_text()) for folder in (calibrated / "selected", biased))

    differing = {key for key in found if found[key] != winner.get(key)}
    assert differing == {"temperature", "threshold", "uncalibrated_digest"}
    weights = "weights.safetensors"
    assert (calibrated / "selected" / weights).read_bytes() == (biased / weights).read_bytes()


def test_the_temperature_is_fitted_to_val_and_judged_on_test(calibrated, tiny_dataset, biased):
    report = read_report(calibrated / "report")
    dataset = open_dataset(tiny_dataset)
    model, card = classifier.load(biased)
    logits, labels = {}, {}
    for name in ("val", "test"):
        split = dataset.split(name)
        network = PixelsToLogits(model, card.preprocessing)
        logits[name] = predict_logits(network, iter([split.center_crops(range(30), 32)]), torch.device("cpu"))
        labels[name] = split.labels_N
    intervals = Intervals(num_resamples=200, seed=0, bins=15)
    expected = temperature.choose(logits["val"], labels["val"], logits["test"], labels["test"], intervals).temperature

    row = report.row("temperature", "selected", "val")
    assert (row.value, row.n) == (expected, 30)
    assert expected != temperature.fit(logits["test"], labels["test"]).temperature
    assert expected != 1.0
    assert read_classifier_card(calibrated / "selected").temperature == expected
    for name, score in (("nll", scoring.nll), ("ece", scoring.ece)):
        after = report.row(name, "selected", "test")
        assert after.value == pytest.approx(score(logits["test"] / expected, labels["test"]), rel=1e-5)
        assert after.low <= after.high
        assert report.row(name, "candidate", "test").value == pytest.approx(score(logits["test"], labels["test"]))
    sure = {mistake["index"]: mistake["confidence"] for mistake in report.details["mistakes"]}
    confidences_N = scoring.softmax(logits["test"] / expected).max(axis=1)
    assert sure == pytest.approx({index: confidences_N[index] for index in sure}, rel=1e-5)
    assert sure, "the biased one is wrong somewhere"


def test_a_champion_made_from_the_selected_is_known_by_the_classifier_it_came_from(
    calibrated, tmp_path, tiny_dataset, biased, crowned
):
    argv = ["--dataset", str(tiny_dataset), "--selected", str(calibrated / "selected"), "--golden-samples", "1"]
    argv += ["--onnx-model", str(tmp_path / "onnx_model"), "--report", str(tmp_path / "export"), "--device", "cpu"]
    assert main(ExportOnnx, argv) == 0
    model_card = read_onnx_card(tmp_path / "onnx_model")

    assert model_card.classifier_digest == digest(biased)
    assert model_card.temperature == read_classifier_card(calibrated / "selected").temperature != 1.0
    assert model_card.threshold == read_classifier_card(calibrated / "selected").threshold
    assert model_card.threshold.precision == 0.8
    session, _ = open_model(tmp_path / "onnx_model")
    assert json.loads(session.get_modelmeta().custom_metadata_map["temperature"]) == model_card.temperature
    store = crowned(tmp_path / "onnx_model", model_card.classifier_digest)
    report = evaluate(tmp_path / "again", tiny_dataset, "--candidate", str(biased), "--store", store)
    assert report.details["champion"] is None


def test_a_champion_is_scored_with_its_own_temperature(tmp_path, tiny_dataset, tiny_classifier, crowned):
    model = write_champion(tmp_path / "model", ["blue", "green", "red"], temperature=5.0)

    report = evaluate(tmp_path, tiny_dataset, "--candidate", str(tiny_classifier), "--store", crowned(model))

    session, card = open_model(model)
    test = open_dataset(tiny_dataset).split("test")
    logits_NC = champion_model.champion_logits(session, test, card.preprocessing, 40, 16)
    assert report.row("nll", "champion", "test").value == pytest.approx(scoring.nll(logits_NC / 5, test.labels_N))


def test_parts_of_the_test_set_have_rows_and_the_worst_is_named(compared):
    report = read_report(compared / "report")

    parts = [row for row in report.rows if row.name == "slice_top1"]
    assert {row.of.split("=")[0] for row in parts} == {"brightness"}, "all PNG of one size"
    assert sum(row.n for row in parts) == 30
    assert report.details["slices"]["worst"] is None, "no quarter has twenty images"


def test_thirty_val_images_show_no_precision_of_99_in_100(compared):
    report = read_report(compared / "report")

    assert report.details["threshold"].startswith("no threshold: on val (n = 30)")
    assert read_classifier_card(compared / "selected").threshold is None


def test_recall_is_compared_class_by_class(compared):
    report = read_report(compared / "report")

    for label in ("blue", "green", "red"):
        row = report.row("recall_difference", f"candidate-baseline/{label}", "test")
        candidate, baseline = (report.row("recall", f"{of}/{label}", "test").value for of in ("candidate", "baseline"))
        assert row.value == pytest.approx(candidate - baseline)
        assert (row.n, row.low < row.value) == (10, True)


def test_every_score_has_its_row_with_n_and_interval(compared):
    report = read_report(compared / "report")

    for of in ("baseline", "candidate"):
        for split in ("val", "test"):
            for name in ("top1", "balanced_accuracy", "macro_f1", "ece", "nll"):
                row = report.row(name, of, split)
                assert row.n == 30
                assert row.low <= row.high
            assert report.row("top5", of, split) is None, "three classes have no top-5"
        for label in ("blue", "green", "red"):
            assert report.row("recall", f"{of}/{label}", "test").n == 10
    assert sum(images for _, _, images in report.details["confusion"]["candidate"]) == 30


def test_confusion_matrix_and_top1_tell_the_same(compared):
    report = read_report(compared / "report")

    for of, cells in report.details["confusion"].items():
        right = sum(images for truth, predicted, images in cells if truth == predicted)
        assert right / 30 == pytest.approx(report.row("top1", of, "test").value)


def test_the_page_stands_alone_and_shows_what_was_asked_for(compared):
    page = (compared / "report" / "report.html").read_text(encoding="utf-8")

    outside = [link for link in re.findall(r'(?:src|href)="([^"]*)"', page) if not link.startswith(("data:", "#"))]
    assert outside == []
    assert "<script" not in page
    assert "url(http" not in page
    assert "@import" not in page
    for words in (
        "Selected: finetune",
        "Confusion on test",
        "train loss",
        "percentile bootstrap (",
        "n = 30",
        "McNemar p",
        "on the dashed line, confidence is accuracy",
    ):
        assert words in page


def test_the_same_inputs_give_the_same_bytes(compared, tmp_path, tiny_dataset, tiny_classifier, learnt):
    evaluate(tmp_path, tiny_dataset, "--baseline", str(tiny_classifier), "--candidate", str(learnt))

    assert digest(tmp_path / "report") == digest(compared / "report")
    assert digest(tmp_path / "selected") == digest(compared / "selected")


def test_a_candidate_that_is_worse_leaves_the_baseline(tmp_path, tiny_dataset, tiny_classifier, learnt):
    report = evaluate(tmp_path, tiny_dataset, "--baseline", str(learnt), "--candidate", str(tiny_classifier))

    assert report.details["selected"] == "feature_extraction"
    assert read_classifier_card(tmp_path / "selected").uncalibrated_digest == digest(learnt)


def test_mistakes_are_shown_as_pictures_with_their_paths(tmp_path, tiny_dataset, tiny_classifier):
    report = evaluate(tmp_path, tiny_dataset, "--baseline", str(tiny_classifier), "--shown-mistakes", "3")

    mistakes = report.details["mistakes"]
    assert len(mistakes) == 3
    assert [m["confidence"] for m in mistakes] == sorted((m["confidence"] for m in mistakes), reverse=True)
    assert all(m["path"].startswith(m["label"]) and m["predicted"] != m["label"] for m in mistakes)
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3
    assert mistakes[0]["path"] in page
    (warning,) = report.details["warnings"]
    assert "misses most test images of" in warning and warning.removeprefix("the") in page


def test_alone_it_is_selected_without_a_comparison(tmp_path, tiny_dataset, learnt):
    report = evaluate(tmp_path, tiny_dataset, "--candidate", str(learnt))

    assert report.details["selected"] == "finetune"
    assert "no baseline was given" in report.details["selected_because"]
    assert report.details["warnings"] == []
    assert report.row("top1_difference", "candidate-baseline", "test") is None


def test_the_champion_is_compared_on_shared_classes_through_its_file(tmp_path, tiny_dataset, learnt, crowned):
    store = crowned(write_champion(tmp_path / "model", ["red", "violet", "blue"]))

    report = evaluate(tmp_path, tiny_dataset, "--candidate", str(learnt), "--store", store)

    champion = report.details["champion"]
    assert champion["digest"] == digest(tmp_path / "model")
    assert champion["shared_classes"] == ["blue", "red"]
    assert (champion["added_classes"], champion["removed_classes"]) == (["green"], ["violet"])
    assert report.row("top1", "champion", "test").n == 20
    assert report.row("top1", "champion", "test").value == 1.0
    assert report.row("top1_difference", "selected-champion", "test").n == 20
    assert report.row("top1_difference", "selected-champion", "val").value <= 0
    assert 0 < report.row("mcnemar_p", "selected-champion", "test").value <= 1
    assert "violet" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_a_damaged_champion_is_refused_before_anything_is_scored(tmp_path, tiny_dataset, crowned, capsys):
    store = crowned(write_champion(tmp_path / "model", ["red", "violet", "blue"]))
    (model,) = (tmp_path / "store" / "models").glob("*/model.onnx")
    model.write_bytes(model.read_bytes()[:-1])
    (tmp_path / "no classifier").mkdir()
    (tmp_path / "no classifier" / "card.json").write_text("{}")
    words = ["--dataset", tiny_dataset, "--candidate", tmp_path / "no classifier", "--store", store]
    words += ["--selected", tmp_path / "selected", "--report", tmp_path / "report", "--device", "cpu"]

    assert main(Evaluate, list(map(str, words))) == 2
    assert "model.onnx is damaged" in capsys.readouterr().err
    assert not (tmp_path / "report").exists() and not (tmp_path / "selected").exists()


def test_a_champion_with_one_shared_class_is_named_but_not_scored(tmp_path, tiny_dataset, learnt, crowned):
    store = crowned(write_champion(tmp_path / "model", ["red", "violet"]))

    report = evaluate(tmp_path, tiny_dataset, "--candidate", str(learnt), "--store", store)

    assert report.details["champion"]["shared_classes"] == ["red"]
    assert report.row("top1_difference", "selected-champion", "test") is None


def test_a_champion_made_by_these_very_inputs_is_not_compared_with_itself(tmp_path, tiny_dataset, learnt, crowned):
    store = crowned(write_champion(tmp_path / "model", ["blue", "green", "red"]), digest(learnt))

    report = evaluate(tmp_path, tiny_dataset, "--candidate", str(learnt), "--store", store)

    assert report.details["champion"] is None


def test_classes_that_differ_are_bad_input(tmp_path, tiny_dataset, learnt, copied, capfd):
    other = copied(learnt)
    card = json.loads((other / "card.json").read_text())
    card["classes"] = ["blue", "red", "green"]
    (other / "card.json").write_text(json.dumps(card))

    evaluate(tmp_path / "out", tiny_dataset, "--candidate", str(other), code=2)

    assert "are not the dataset's (blue, green, red)" in capfd.readouterr().err
    assert not (tmp_path / "out" / "report").exists()
    assert not (tmp_path / "out" / "selected").exists()


def test_another_stored_size_is_bad_input_that_names_the_flags(tmp_path, tiny_dataset, learnt, copied, capfd):
    other = copied(learnt)
    card = json.loads((other / "card.json").read_text())
    card["preprocessing"]["resize_short_px"] = 64
    (other / "card.json").write_text(json.dumps(card))

    evaluate(tmp_path / "out", tiny_dataset, "--candidate", str(other), code=2)

    assert "ingest with --stored-size-px 64 --interpolation bicubic" in capfd.readouterr().err


def test_no_classifier_is_bad_input(tmp_path, tiny_dataset, capfd):
    evaluate(tmp_path / "out", tiny_dataset, code=2)

    assert "expected --baseline, --candidate or both" in capfd.readouterr().err


def test_a_diverged_classifier_is_refused_in_words(tmp_path, tiny_dataset, learnt, capsys):
    """A logit that is no number would count as right: none is greater."""
    model, card = classifier.load(learnt)
    with torch.no_grad():
        model.get_classifier().bias[1] = torch.nan
    classifier.save(tmp_path / "diverged", model, card)

    evaluate(tmp_path, tiny_dataset, "--candidate", str(tmp_path / "diverged"), code=2)

    assert re.search(
        r"the candidate answers 30 of 30 val images with logits that are not finite", capsys.readouterr().err
    )
    assert not (tmp_path / "report").exists()
