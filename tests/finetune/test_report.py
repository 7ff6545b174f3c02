"""What the report says of a training: the rates that the optimiser used, what stayed frozen, what to be wary of."""

from pathlib import Path

import pytest
import torch
from torch import nn

from components.finetune import advice
from components.finetune.rates import by_rates, watch_rates
from components.finetune.schedule import warmup_cosine
from components.finetune.spec import Finetune
from components.interchange.cli import main
from components.interchange.report import Report, read_report

EVEN = {"a": 400, "b": 400}


@pytest.fixture(scope="module")
def trained(tiny_dataset: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a short training with a frozen early stage."""
    out = tmp_path_factory.mktemp("trained")
    argv = [
        *("--dataset", str(tiny_dataset), "--classifier", str(out / "c"), "--report", str(out / "r")),
        *("--backbone", "test_resnet", "--weights", str(tiny_weights), "--input-size-px", "32", "--device", "cpu"),
        *("--batch-size", "10", "--num-epochs", "3", "--freeze", "early", "--base-lr", "1e-3"),
    ]
    assert main(Finetune, argv) == 0
    return out / "r"


def test_the_ledger_holds_the_rate_of_every_group_at_every_step(trained: Path) -> None:
    ledger = read_report(trained).details["learning_rates"]
    peaks = {"middle": 1e-4, "late": 1e-3, "head": 1e-2}
    assert {name.partition("/")[0] for name in ledger} == peaks.keys()
    factors = [warmup_cosine(step, 18, 2) for step in range(18)]
    for name, rates in ledger.items():
        expected = [peaks[name.partition("/")[0]] * factor for factor in factors]
        assert rates == pytest.approx(expected, rel=1e-5), name


def test_the_ledger_reads_the_optimiser_and_not_a_plan() -> None:
    model, ledger = nn.Linear(2, 2), {}
    groups = [{"name": "a", "params": [model.weight], "lr": 1.0}, {"name": "b", "params": [model.bias], "lr": 0.1}]
    optimizer = torch.optim.SGD(groups)
    watch_rates(optimizer, ledger)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.param_groups[1]["lr"] = 0.01
    optimizer.step()
    assert ledger == {"a": [1.0, 1.0], "b": [0.1, 0.01]}


def test_groups_of_one_rate_share_a_line_and_others_do_not() -> None:
    together = {"head/decay": [1.0], "head/no_decay": [1.0], "late/decay": [0.1]}
    assert by_rates(together) == {"head": [1.0], "late": [0.1]}
    apart = {"head/decay": [1.0], "head/no_decay": [0.5]}
    assert by_rates(apart) == apart


def test_the_page_shows_scores_rates_and_the_frozen_proof(trained: Path) -> None:
    report, page = read_report(trained), (trained / "report.html").read_text()
    frozen, top1 = report.details["frozen"], report.row("top1", "candidate", "val")
    assert frozen["digest_before"] == frozen["digest_after"] and frozen["tensors"] > 0
    assert frozen["digest_before"][:12] in page and "unchanged" in page
    assert top1 is not None and f"{top1.value:.3f}" in page
    assert all(text in page for text in ("learning rate", "train loss", "layer1", ">head</th>", "60 training images"))
    assert page.count("<svg") == 3
    assert 'src="http' not in page and 'href="http' not in page


def warnings_of(report: Report) -> str:
    return " | ".join(report.details["warnings"])


def test_few_images_and_another_input_size_are_warned_of(trained: Path) -> None:
    found = warnings_of(read_report(trained))
    assert "60 training images, under 500" in found
    assert "the input is 32 px, the weights were trained with 160 px" in found


@pytest.mark.parametrize(
    ("multipliers", "policy", "words"),
    [
        ((1.0, 1.0, 1.0, 1.0), "stages", "one rate"),
        ((0.1, 0.1, 1.0, 1.0), "stages", "not above the backbone's"),
        ((0.1, 0.1, 1.0, 0.5), "layer-decay", "not above the backbone's"),
        ((1.0, 0.1, 0.5, 10.0), "stages", "nearer to the input learns faster"),
    ],
)
def test_rates_that_do_not_rise_are_warned_of(multipliers: tuple[float, ...], policy: str, words: str) -> None:
    (found,) = advice.of_rates(multipliers, policy, 0.5)
    assert words in found


def test_good_settings_are_not_warned_of() -> None:
    assert advice.of_rates((0.01, 0.1, 1.0, 10.0), "stages", 0.75) == []
    assert advice.of_data(EVEN, weighed=False) == []
    assert advice.of_size(224, 224, True) == []
    history = [{"train_loss": loss} for loss in (1.0, 0.5, 0.4, 0.45)]
    assert advice.of_course(history, best_epoch=3, num_epochs=4) == []
    assert advice.of_unfreezing((2, 4), trained=4) == []


@pytest.mark.parametrize("policy", ["stages", "layer-decay"])
def test_rates_of_a_head_alone_are_not_warned_of(policy: str) -> None:
    assert advice.of_rates((1.0,), policy, 1.0) == []


def test_imbalance_is_warned_of_unless_it_is_weighed() -> None:
    counts = {"common": 1000, "rare": 100}
    (found,) = advice.of_data(counts, weighed=False)
    assert "common has 10.0 times the training images of rare" in found
    assert advice.of_data(counts, weighed=True) == []


@pytest.mark.parametrize(
    ("losses", "best_epoch", "num_epochs", "words"),
    [
        ((1.0, 0.5, 0.8), 2, 9, "rose to 0.800 in epoch 3, from 0.500"),
        ((1.0, 0.5), 2, 2, "the last epoch was the best"),
        ((1.0, 0.9, 0.8), 1, 9, "no epoch was better than the first"),
    ],
)
def test_the_course_of_a_training_is_judged(
    losses: tuple[float, ...], best_epoch: int, num_epochs: int, words: str
) -> None:
    (found,) = advice.of_course([{"train_loss": loss} for loss in losses], best_epoch, num_epochs)
    assert words in found


def test_an_unfreezing_that_never_came_is_told() -> None:
    (found,) = advice.of_unfreezing((2, 5), trained=3)
    assert "ended after epoch 3, before --unfreeze-at 5" in found
