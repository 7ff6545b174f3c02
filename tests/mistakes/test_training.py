"""Mistakes that everyone makes in training, made through the command line: impossible, refused, or shown."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from components.feature_extraction.spec import FeatureExtraction
from components.finetune.param_groups import check_cover, stage_groups
from components.finetune.spec import Finetune
from components.ingest.spec import Ingest
from components.interchange import classifier, scoring
from components.interchange.cards import read_classifier_card
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.inference import predict_logits
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import read_report
from tests.conftest import write_dataset, write_source

Train = Callable[..., int]
EARLY = ("conv1", "bn1", "layer1", "layer2")


@pytest.fixture
def train(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path) -> Train:
    """Fine-tune for one epoch into tmp_path / c and r; later arguments win."""

    def call(*more: str, dataset: Path = tiny_dataset) -> int:
        given = {
            "--dataset": str(dataset),
            "--classifier": str(tmp_path / "c"),
            "--report": str(tmp_path / "r"),
            "--backbone": "test_resnet",
            "--weights": str(tiny_weights),
            "--input-size-px": "32",
            "--device": "cpu",
            "--num-epochs": "1",
            **dict(zip(more[::2], more[1::2], strict=True)),
        }
        return main(Finetune, [part for pair in given.items() for part in pair])

    return call


@pytest.fixture
def warnings(tmp_path: Path) -> Callable[[], str]:
    return lambda: " | ".join(read_report(tmp_path / "r").details["warnings"])


def test_normalisation_is_that_of_the_weights_and_cannot_be_given(
    train: Train, tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    config, found = timm.get_pretrained_cfg("test_resnet"), read_classifier_card(tmp_path / "c").preprocessing
    assert (found.mean, found.std) == (config.mean, config.std)
    assert train("--mean", "0.1,0.2,0.3") == 2
    assert "unknown flag --mean" in capsys.readouterr().err
    with torch.device("meta"):
        model = timm.create_model("resnet18")
    config, found = model.pretrained_cfg, classifier.preprocessing_of(model, open_dataset(tiny_dataset).manifest, 32)
    assert (found.mean, found.std) == (config["mean"], config["std"])


def test_one_rate_for_all_layers_is_shown(train: Train, warnings: Callable[[], str]) -> None:
    assert train("--stage-multipliers", "1,1,1,1") == 0
    assert "all layers learn at one rate" in warnings()


def test_one_rate_for_all_layers_of_the_backbone_is_shown(train: Train, warnings: Callable[[], str]) -> None:
    assert train("--lr-policy", "layer-decay", "--layer-decay", "1") == 0
    assert "all layers of the backbone learn at one rate" in warnings()


def test_a_head_slower_than_the_backbone_is_shown(train: Train, warnings: Callable[[], str]) -> None:
    assert train("--stage-multipliers", "0.01,0.1,1,0.5") == 0
    assert "the head's rate (0.5 times base_lr) is not above the backbone's" in warnings()


def test_statistics_of_frozen_batchnorm_do_not_move(train: Train, tiny_weights: Path, tmp_path: Path) -> None:
    assert train("--freeze", "middle") == 0
    before, after = load_file(tiny_weights), classifier.load(tmp_path / "c")[0].state_dict()
    frozen = [name for name in after if "running" in name and name.startswith(("bn1", "layer1", "layer2", "layer3"))]
    assert frozen and all(torch.equal(after[name], before[name]) for name in frozen)
    assert not torch.equal(after["layer4.0.bn1.running_mean"], before["layer4.0.bn1.running_mean"])


def test_every_unfrozen_parameter_is_in_the_optimiser(train: Train, tmp_path: Path) -> None:
    assert train("--freeze", "early") == 0
    details = read_report(tmp_path / "r").details
    model, _ = classifier.load(tmp_path / "c")
    frozen = sum(p.numel() for name, p in model.named_parameters() if name.startswith(EARLY))
    learning = sum(group["parameters"] for group in details["param_groups"])
    assert learning == sum(p.numel() for p in model.parameters()) - frozen
    assert {group["name"] for group in details["param_groups"]} == details["learning_rates"].keys()


def test_a_layer_left_out_of_the_optimiser_is_named() -> None:
    model = timm.create_model("test_resnet", num_classes=3)
    groups = stage_groups(model, 1e-3, (0.01, 0.1, 1, 10), 0.05)
    check_cover(model, groups)
    with pytest.raises(ValueError, match=r"trainable parameters are in no param group: fc\.bias"):
        check_cover(model, [group for group in groups if group["name"] != "head/no_decay"])


def test_imbalance_is_shown_and_weighing_it_is_one_switch(
    train: Train, warnings: Callable[[], str], tmp_path: Path
) -> None:
    source = write_source(tmp_path / "source", 130)
    for path in [path for name in ("green", "red") for path in sorted((source / name).iterdir())[15:]]:
        path.unlink()
    uneven = tmp_path / "uneven"
    argv = ["--source", str(source), "--dataset", str(uneven), "--report", str(tmp_path / "ir")]
    assert main(Ingest, [*argv, "--stored-size-px", "40", "--max-near-bits", "-1"]) == 0
    losses = {}
    for how in ("none", "balanced", "sampled"):
        assert train("--class-weights", how, "--base-lr", "1e-12", dataset=uneven) == 0
        details = read_report(tmp_path / "r").details
        losses[how] = details["history"][0]["train_loss"]
        shares = {round(count * details["loss_weights"][name], 3) for name, count in details["counts"].items()}
        assert (len(shares) == 1) == (how == "balanced")
        assert (f"to train, {how}</" in (tmp_path / "r" / "report.html").read_text()) == (how != "none")
        assert ("times the training images" in warnings()) == (how == "none")
        assert "blue has" in warnings() or how != "none"
        for made in ("c", "r"):
            shutil.rmtree(tmp_path / made)
    assert len(set(losses.values())) == 3  # Nothing learns at such a rate: what differs is what counts.


def test_a_vit_at_another_input_size_has_its_position_embeddings_resampled_and_says_so(
    train: Train, warnings: Callable[[], str], tmp_path: Path
) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    vit = ("--backbone", "test_vit", "--weights", str(tmp_path / "vit.safetensors"))
    assert train(*vit, "--input-size-px", "32") == 0
    assert "32 px, the weights were trained with 160 px: the position embeddings were resampled" in warnings()
    embeddings = load_file(tmp_path / "c" / "weights.safetensors")["pos_embed"]
    assert embeddings.shape[1] == (32 // 16) ** 2 + 1  # A patch each, and the class token.


@pytest.mark.parametrize(
    ("size", "words"), [("40", "no multiple of its patch size, 16 px"), ("160", "Run ingest with --stored-size-px")]
)
def test_an_input_size_that_cannot_be_is_refused(
    train: Train, size: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    weights = str(tmp_path / "vit.safetensors")
    assert train("--backbone", "test_vit", "--weights", weights, "--input-size-px", size) == 2
    assert words in capsys.readouterr().err


def test_an_input_smaller_than_a_backbone_can_take_is_refused(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(timm.create_model("test_convnext").state_dict(), tmp_path / "convnext.safetensors")
    convnext = ("--backbone", "test_convnext", "--weights", str(tmp_path / "convnext.safetensors"))
    assert train(*convnext, "--input-size-px", "20") == 2
    assert "--input-size-px 20: test_convnext cannot take images of this size" in capsys.readouterr().err


def test_no_training_step_reads_the_test_split(
    train: Train, tiny_dataset: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    blind = Path(shutil.copytree(tiny_dataset, tmp_path / "blind"))
    for shard in blind.glob("test*"):
        shard.write_bytes(b"")
    assert train(dataset=blind) == 0
    baseline = ["--classifier", str(tmp_path / "bc"), "--report", str(tmp_path / "br"), "--input-size-px", "32"]
    given = ["--dataset", str(blind), "--backbone", "test_resnet", "--weights", str(tiny_weights), "--device", "cpu"]
    assert main(FeatureExtraction, [*given, *baseline]) == 0


def test_val_is_scored_in_eval_mode_and_without_augmentation(train: Train, tiny_dataset: Path, tmp_path: Path) -> None:
    assert train("--augment", "randaugment", "--augment-strength", "1", "--crop", "resized", "--mixup", "1") == 0
    model, card = classifier.load(tmp_path / "c")
    val, cpu = open_dataset(tiny_dataset).split("val"), torch.device("cpu")
    crops_NHWC = val.center_crops(range(len(val)), card.preprocessing.crop_px)
    logits_NC = predict_logits(PixelsToLogits(model, card.preprocessing), [crops_NHWC], cpu)
    found = read_report(tmp_path / "r").row("nll", of="candidate", split="val")
    assert found is not None and found.value == pytest.approx(scoring.nll(logits_NC, val.labels_N), rel=1e-5)


def test_divergence_ends_in_words_and_leaves_nothing(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--base-lr", "1e30", "--warmup-fraction", "0") == 2
    said = capsys.readouterr().err
    assert "the training diverged" in said and "Lower --base-lr" in said and "Traceback" not in said
    assert not (tmp_path / "c").exists() and not (tmp_path / "r").exists()


def test_too_little_data_is_shown_by_both_trainings(
    train: Train, warnings: Callable[[], str], tiny_weights: Path, tmp_path: Path
) -> None:
    few = write_dataset(tmp_path / "few", counts={"train": 4, "val": 4, "test": 4})
    assert train(dataset=few) == 0
    assert "12 training images, under 500" in warnings() and "3 of 3 classes have under 20" in warnings()
    baseline = ["--classifier", str(tmp_path / "bc"), "--report", str(tmp_path / "br"), "--input-size-px", "32"]
    given = ["--dataset", str(few), "--backbone", "test_resnet", "--weights", str(tiny_weights), "--device", "cpu"]
    assert main(FeatureExtraction, [*given, *baseline]) == 0
    assert "the baseline is expected to win" in read_report(tmp_path / "br").details["expectation"]
    assert "expected to win" in (tmp_path / "br" / "report.html").read_text()
