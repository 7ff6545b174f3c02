"""A training that is killed, wherever, and started again ends with the bytes of one that never was."""

import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from components.finetune.spec import Finetune
from components.interchange.cli import main
from tests.finetune.killing import (
    SIGTERM_EXIT,
    after,
    at_checkpoint,
    outcome,
    run_until,
    undisturbed,
    warm_up,
    while_writing,
)


@pytest.fixture
def argv(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path) -> list[str]:
    """Eight epochs of ten steps; the outputs in `tmp_path`."""
    return [
        *("--dataset", str(tiny_dataset), "--classifier", str(tmp_path / "c"), "--report", str(tmp_path / "r")),
        *("--backbone", "test_resnet", "--weights", str(tiny_weights), "--input-size-px", "32", "--device", "cpu"),
        *("--batch-size", "6", "--num-epochs", "8", "--patience", "8", "--checkpoint-every-s", "0.05"),
        *("--ema-decay", "0.9", "--mixup", "0.2", "--freeze", "middle", "--unfreeze-at", "2,5"),
    ]


def two_epochs(argv: list[str]) -> list[str]:
    """The same command line with two epochs, of which the second frees a stage."""
    return ["2" if before in ("--num-epochs", "--unfreeze-at") else word for before, word in pairwise(["", *argv])]


def elsewhere(argv: list[str], name: str) -> list[str]:
    """The same command line with its outputs in another folder."""
    moved = list(argv)
    for flag in ("--classifier", "--report"):
        place = Path(argv[argv.index(flag) + 1])
        moved[moved.index(flag) + 1] = str(place.parent / name / place.name)
    return moved


def timed(argv: list[str]) -> float:
    """Seconds of an undisturbed run, without the start of the server that it comes from."""
    warm_up()
    started = time.monotonic()
    assert run_until(argv, undisturbed) == 0
    return time.monotonic() - started


def test_killed_three_times_it_ends_with_the_same_bytes(argv: list[str], tmp_path: Path) -> None:
    warm_up()
    assert run_until(argv, undisturbed) == 0

    killed = [*elsewhere(argv, "killed"), "--checkpoint-uri", str(tmp_path / "checkpoints")]
    said = tmp_path / "said"
    assert run_until(killed, while_writing(tmp_path / "checkpoints")) == -9
    assert run_until(killed, at_checkpoint(tmp_path / "checkpoints", 3, "SIGTERM"), str(said)) == SIGTERM_EXIT
    assert "terminated=SIGTERM" in said.read_text()
    assert run_until(killed, at_checkpoint(tmp_path / "checkpoints", 5, "SIGKILL")) == -9
    assert not (tmp_path / "killed" / "c").exists()

    assert run_until(killed, undisturbed, str(said)) == 0
    assert "resumed=" in said.read_text().partition("terminated=SIGTERM")[2]
    assert outcome(killed) == outcome(argv)


def test_a_checkpoint_on_s3_is_continued(argv: list[str], s3_store: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "graft")
    short = two_epochs(argv)
    assert main(Finetune, short) == 0
    first, second = ([*elsewhere(short, name), "--checkpoint-uri", s3_store] for name in ("first", "second"))
    assert main(Finetune, [*first, "--checkpoint-every-s", "0"]) == 0
    assert "resumed=" not in caplog.text
    assert main(Finetune, second) == 0
    assert "resumed=s3://" in caplog.text
    assert outcome(first) == outcome(second) == outcome(short)


@pytest.mark.parametrize(
    ("option", "said"), [(["--seed", "1"], "seed 0 -> 1"), (["--base-lr", "0.002"], "base_lr 0.001 -> 0.002")]
)
def test_another_trainings_checkpoint_is_refused(
    option: list[str], said: str, argv: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = ["--checkpoint-uri", str(tmp_path / "checkpoints"), "--checkpoint-every-s", "0"]
    assert main(Finetune, [*two_epochs(argv), *place]) == 0
    assert main(Finetune, [*elsewhere(two_epochs(argv), "other"), *place, *option]) == 2
    error = capfd.readouterr().err
    assert "belongs to another training" in error and said in error


def test_a_damaged_checkpoint_is_refused(argv: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    blob = tmp_path / "checkpoints" / "training.safetensors"
    blob.parent.mkdir()
    blob.write_bytes(b"\x10" + b"\0" * 40)
    assert main(Finetune, [*argv, "--checkpoint-uri", str(blob.parent)]) == 2
    assert "is damaged" in capfd.readouterr().err


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(argv: list[str], tmp_path: Path) -> None:
    """At least twenty kills that hit a living process; run by `make test-resume`."""
    rng = random.Random(0)
    seconds = timed(argv)
    kills = 0
    for round_ in range(12):
        folder = tmp_path / f"checkpoints {round_}"
        again = [*elsewhere(argv, f"round {round_}"), "--checkpoint-uri", str(folder)]
        again += ["--checkpoint-every-s", rng.choice(["0", "0.02", "0.1"])]
        for _ in range(3):
            moment = after(rng.uniform(0, 0.6 * seconds), rng.choice(["SIGKILL", "SIGTERM"]))
            kills += run_until(again, rng.choice([moment, moment, while_writing(folder)])) != 0
            if (tmp_path / f"round {round_}" / "c").exists():
                break
        else:
            assert run_until(again, undisturbed) == 0
        assert outcome(again) == outcome(argv)
    print(f"{kills} kills in {round_ + 1} trainings: the same bytes each time")
    assert kills >= 20
