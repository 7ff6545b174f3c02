"""The baseline step on the tiny dataset: the fitted head sits on an untouched backbone and is chosen on val."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from components.feature_extraction.features import extract
from components.feature_extraction.linear_probe import LinearHead
from components.feature_extraction.spec import FeatureExtraction
from components.interchange import scoring
from components.interchange.artifact import digest
from components.interchange.backbone import build_model
from components.interchange.cards import read_classifier_card
from components.interchange.classifier import load, preprocessing_of
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.inference import predict_logits
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import read_report


def argv(dataset: Path, weights: Path, out: Path) -> list[str]:
    return [
        *("--dataset", str(dataset), "--classifier", str(out / "c"), "--report", str(out / "r")),
        *("--backbone", "test_resnet", "--weights", str(weights), "--input-size-px", "32", "--device", "cpu"),
    ]


def test_the_saved_model_scores_what_the_report_says(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path) -> None:
    assert main(FeatureExtraction, argv(tiny_dataset, tiny_weights, tmp_path / "one")) == 0
    model, card = load(tmp_path / "one" / "c")
    report = read_report(tmp_path / "one" / "r")
    for name in ("train", "val"):
        split = open_dataset(tiny_dataset).split(name)
        crops = iter([split.center_crops(range(len(split)), 32)])
        logits_NC = predict_logits(PixelsToLogits(model, card.preprocessing), crops, torch.device("cpu"))
        top1, nll = report.row("top1", "baseline", name), report.row("nll", "baseline", name)
        assert top1 is not None and top1.value == scoring.top1(logits_NC, split.labels_N) > 0.9
        assert nll is not None and nll.value == pytest.approx(scoring.nll(logits_NC, split.labels_N), abs=1e-4)
    best = max(card.history, key=lambda record: (record["val_top1"], -record["val_nll"]))
    chosen, gradient_norm = report.row("l2", "baseline"), report.row("gradient_norm", "baseline")
    assert chosen is not None and chosen.value == best["l2"]
    assert gradient_norm is not None and gradient_norm.value < 1e-6
    assert len(card.history) == 5
    assert report.details["baseline_expected_to_win"] is True
    assert "60 training images" in report.details["expectation"]

    assert main(FeatureExtraction, argv(tiny_dataset, tiny_weights, tmp_path / "two")) == 0
    assert digest(tmp_path / "two" / "c") == digest(tmp_path / "one" / "c")


def test_the_backbone_is_the_pretrained_one_buffers_included(
    tiny_dataset: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    assert main(FeatureExtraction, argv(tiny_dataset, tiny_weights, tmp_path)) == 0
    pretrained, saved = load_file(tiny_weights), load(tmp_path / "c")[0].state_dict()
    assert [name for name in saved if not name.startswith("fc.") and not saved[name].equal(pretrained[name])] == []
    frozen = read_report(tmp_path / "r").details["frozen"]
    assert frozen["digest_before"] == frozen["digest_after"]
    assert read_classifier_card(tmp_path / "c").made_by == "feature_extraction"


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_head_over_features_is_the_model(backbone: str, tiny_dataset: Path, tmp_path: Path) -> None:
    import timm

    path = tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model(backbone).state_dict(), path)
    model, _ = build_model(backbone, 3, str(path), None, 32)
    dataset = open_dataset(tiny_dataset)
    split = dataset.split("val")
    pixels_to_logits = PixelsToLogits(model, preprocessing_of(model, dataset.manifest, 32))
    features_ND = extract(pixels_to_logits, split, 32, 16, torch.device("cpu"))
    head = model.get_classifier()
    expected = predict_logits(pixels_to_logits, iter([split.center_crops(range(30), 32)]), torch.device("cpu"))
    found = LinearHead(head.weight.detach(), head.bias.detach()).logits(features_ND)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_weights_whose_features_are_no_numbers_are_refused(
    tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(tiny_weights)
    weights["layer4.0.conv1.weight"][0] = torch.nan
    save_file(weights, tmp_path / "damaged.safetensors")
    assert main(FeatureExtraction, argv(tiny_dataset, tmp_path / "damaged.safetensors", tmp_path)) == 2
    assert "features of 60 of 60 train images are no finite numbers" in capsys.readouterr().err


@pytest.mark.parametrize("penalties", ["0,1", "-1"])
def test_a_penalty_that_has_no_optimum_is_refused(
    penalties: str, tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(FeatureExtraction, [*argv(tiny_dataset, tiny_weights, tmp_path), f"--l2-candidates={penalties}"]) == 2
    assert "every penalty must be above 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
