"""The finetune step on the tiny dataset: it learns, repeats itself, keeps frozen stages, and stops in words."""

import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.finetune.find_lr.spec import FindLr
from components.finetune.spec import Finetune
from components.interchange.artifact import digest
from components.interchange.cards import read_classifier_card
from components.interchange.classifier import load
from components.interchange.cli import main
from components.interchange.report import read_report


@pytest.fixture
def argv(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path) -> list[str]:
    return [
        *("--dataset", str(tiny_dataset), "--classifier", str(tmp_path / "c"), "--report", str(tmp_path / "r")),
        *("--backbone", "test_resnet", "--weights", str(tiny_weights), "--input-size-px", "32", "--device", "cpu"),
        *("--batch-size", "6", "--num-epochs", "4", "--stage-multipliers", "1,1,1,10", "--base-lr", "1e-3"),
    ]


def test_it_learns_and_gives_the_same_digest_twice(argv: list[str], tmp_path: Path) -> None:
    assert main(Finetune, argv) == 0
    card, report = read_classifier_card(tmp_path / "c"), read_report(tmp_path / "r")
    first = digest(tmp_path / "c"), digest(tmp_path / "r")
    assert card.made_by == "finetune"
    assert [record["epoch"] for record in card.history] == [1, 2, 3, 4]
    assert card.history[-1]["train_loss"] < card.history[0]["train_loss"]
    assert card.history[-1]["lr"]["head/decay"] == pytest.approx(10 * card.history[-1]["lr"]["early/decay"])
    best = max(card.history, key=lambda record: (record["val_top1"], -record["val_nll"]))
    top1 = report.row("top1", of="candidate", split="val")
    assert top1 is not None and top1.value == best["val_top1"] > 0.8 and top1.n == 30
    assert report.details["best_epoch"] == best["epoch"]

    again = [text.replace(str(tmp_path / "c"), str(tmp_path / "c2")).replace(str(tmp_path / "r"), str(tmp_path / "r2"))
             if text.startswith(str(tmp_path)) else text for text in argv]  # fmt: skip
    assert main(Finetune, again) == 0
    assert (digest(tmp_path / "c2"), digest(tmp_path / "r2")) == first


def test_all_but_the_head_frozen_leaves_the_pretrained_backbone(
    argv: list[str], tmp_path: Path, tiny_weights: Path
) -> None:
    assert main(Finetune, [*argv, "--freeze", "late", "--num-epochs", "1", "--batch-size", "7"]) == 0
    pretrained = load_file(tiny_weights)
    trained = load(tmp_path / "c")[0].state_dict()
    assert [name for name in trained if not name.startswith("fc.") and not trained[name].equal(pretrained[name])] == []
    report = read_report(tmp_path / "r")
    frozen = report.details["frozen"]
    assert frozen["digest_before"] == frozen["digest_after"]
    assert frozen["tensors"] == len(trained) - 2
    assert {group["name"] for group in report.details["param_groups"]} == {"head/decay", "head/no_decay"}
    loss = report.row("train_loss", of="candidate", split="train")
    assert loss is not None and loss.n == 56  # Of 60 images, which are no whole number of batches.


def test_it_stops_early_and_keeps_the_best_epoch(argv: list[str], tmp_path: Path) -> None:
    tiny_rate = [*argv, "--base-lr", "1e-12", "--freeze", "late", "--num-epochs", "6", "--patience", "2"]
    assert main(Finetune, tiny_rate) == 0
    card = read_classifier_card(tmp_path / "c")
    best = read_report(tmp_path / "r").details["best_epoch"]
    assert len(card.history) == best + 2 < 6


def test_a_loss_that_is_no_number_names_the_step(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(Finetune, [*argv, "--base-lr", "1e30", "--warmup-fraction", "0"]) == 2
    error = capsys.readouterr().err
    assert "the loss became nan at epoch 1, batch 1 (step 1), on the images" in error
    assert "No checkpoint was kept" in error
    assert not (tmp_path / "c").exists() and not (tmp_path / "r").exists()


def test_layer_decay_and_flips_run(argv: list[str], tmp_path: Path) -> None:
    options = ["--lr-policy", "layer-decay", "--vertical-flips", "true", "--label-smoothing", "0.1"]
    assert main(Finetune, [*argv, *options, "--num-epochs", "1"]) == 0
    names = {group["name"] for group in read_report(tmp_path / "r").details["param_groups"]}
    assert {"layer_00/decay", "layer_04/decay", "head/decay"} <= names


def test_a_multiplier_of_zero_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    argv[argv.index("--stage-multipliers") + 1] = "0,1,1,1"
    assert main(Finetune, argv) == 2
    assert "every multiplier must be above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--base-lr", "inf", "--base-lr: input should be a finite number"),
        ("--seed", str(2**63), "--seed: input should be less than"),
    ],
)
def test_what_no_training_can_do_is_refused_before_it(
    flag: str, value: str, said: str, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(Finetune, [*argv, flag, value]) == 2
    assert said in capsys.readouterr().err


def test_damaged_weights_are_not_blamed_on_the_rate(
    argv: list[str], tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(tiny_weights)
    weights["layer4.0.conv1.weight"][0] = torch.nan
    save_file(weights, tmp_path / "damaged.safetensors")
    damaged = [*argv, "--weights", str(tmp_path / "damaged.safetensors")]
    assert main(Finetune, damaged) == 2
    error = capsys.readouterr().err
    assert "(step 0)" in error and "the --weights are damaged" in error and "Lower" not in error
    del damaged[damaged.index("--classifier") : damaged.index("--report")]
    assert main(FindLr, damaged) == 2
    assert "before the first step: the --weights are damaged" in capsys.readouterr().err


def test_ctrl_c_ends_it_in_a_line(argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs ignore it.
    interrupt = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    try:
        assert main(Finetune, [*argv, "--num-epochs", "500", "--patience", "500"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
        interrupt.cancel()
    assert "finetune: interrupted; nothing was published" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


EVERYTHING = [
    *("--class-weights", "sampled", "--crop", "resized", "--augment", "randaugment", "--mixup", "0.2", "--cutmix", "1"),
    *("--ema-decay", "0.9", "--clip-norm", "1", "--device-batch-size", "4", "--label-smoothing", "0.1"),
    *("--freeze", "middle", "--unfreeze-at", "2,3", "--num-epochs", "3"),
]


def test_every_rule_at_once_learns_and_repeats_itself(argv: list[str], tmp_path: Path) -> None:
    assert main(Finetune, [*argv, *EVERYTHING]) == 0
    first = digest(tmp_path / "c")
    card = read_classifier_card(tmp_path / "c")
    assert card.history[-1]["val_top1"] > 0.8
    assert set(card.history[0]["lr"]) < set(card.history[1]["lr"]) < set(card.history[2]["lr"])
    again = [text.replace(str(tmp_path), str(tmp_path / "again")) if text.startswith(str(tmp_path / "")) else text
             for text in argv]  # fmt: skip
    assert main(Finetune, [*again, *EVERYTHING]) == 0
    assert digest(tmp_path / "again" / "c") == first


def test_an_odd_batch_in_parts_of_two_leaves_no_single_image(argv: list[str]) -> None:
    """BatchNorm takes no single image, where it is one pixel wide."""
    assert main(Finetune, [*argv, "--batch-size", "5", "--device-batch-size", "2", "--num-epochs", "1"]) == 0


def test_more_epochs_to_unfreeze_at_than_frozen_stages_are_refused(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(Finetune, [*argv, "--freeze", "early", "--unfreeze-at", "2,3"]) == 2
    assert "unfreeze_at names 2 epochs, but freeze=early has 1 stages" in capsys.readouterr().err
    assert main(Finetune, [*argv, "--freeze", "middle", "--unfreeze-at", "4,5", "--num-epochs", "4"]) == 2
    assert "unfreeze_at names epoch 5, but num_epochs=4 ends before" in capsys.readouterr().err
