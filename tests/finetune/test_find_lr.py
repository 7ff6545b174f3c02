"""The learning-rate range test: the rule on made-up losses, the sweep on a small real training, the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from components.finetune.find_lr.spec import FindLr
from components.finetune.find_lr.sweep import WINDOW, found_in, has_exploded
from components.interchange.cli import main
from components.interchange.report import Report, read_report
from pipelines.cli import app
from tests import warm

SETTINGS = {"input-size-px": "32", "device": "cpu", "batch-size": "10", "num-steps": "80", "highest-lr": "1000"}
RATES = np.geomspace(1e-6, 1.0, 121).tolist()


def falling_at(rate: float, noise: float = 0.02) -> list[float]:
    """Losses that fall from 1.1 to 0.1 around a rate, within a decade or so, and explode from 0.1 on."""
    logs, rng = np.log10(RATES), np.random.default_rng(0)
    losses = 0.1 + 1 / (1 + np.exp(4 * (logs - np.log10(rate)))) + rng.normal(0, noise, len(logs))
    return list(losses + np.where(logs > -1, 20 * (logs + 1) ** 2, 0))


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 1e-2])
def test_the_rate_of_steepest_descent_is_suggested(rate: float) -> None:
    found = found_in(RATES, falling_at(rate))
    assert found is not None and found.suggested_lr is not None
    assert found.suggested_lr == pytest.approx(rate, rel=0.6)  # The noise may move it by a few steps.
    assert found.suggested_lr < found.lowest_lr < 0.3


def test_the_steep_fall_after_an_explosion_is_not_the_descent() -> None:
    losses = falling_at(1e-4)
    losses[-15:] = list(np.linspace(60, 5, 15))
    found = found_in(RATES, losses)
    assert found is not None and found.suggested_lr == pytest.approx(1e-4, rel=0.6)


def test_noise_suggests_nothing() -> None:
    found = found_in(RATES, list(1.1 + np.random.default_rng(0).normal(0, 0.1, len(RATES)) + np.linspace(0, 1, 121)))
    assert found is not None and found.suggested_lr is None


def test_too_few_losses_have_no_slope() -> None:
    assert found_in(RATES[: WINDOW - 1], [1.0] * (WINDOW - 1)) is None


@pytest.mark.parametrize(
    ("losses", "exploded"),
    [
        ([1.0] * 30, False),
        ([1.0] * 20 + [0.1] * 10 + [0.9] * 9, False),  # Nine times the lowest, but not worse than no training.
        ([1.0] * 20 + [0.9] * 10 + [40.0], True),
        ([40.0] * 5, False),
    ],
)
def test_an_explosion_is_far_above_the_lowest_and_above_the_start(losses: list[float], exploded: bool) -> None:
    assert has_exploded(losses) is exploded


def arguments(dataset: Path, weights: Path, report: Path, **more: str) -> list[str]:
    given = {
        "dataset": str(dataset),
        "report": str(report),
        "backbone": "test_resnet",
        "weights": str(weights),
        **SETTINGS,
        **more,
    }
    return [word for name, value in given.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def swept(tiny_dataset: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = tmp_path_factory.mktemp("swept") / "r"
    assert main(FindLr, arguments(tiny_dataset, tiny_weights, report)) == 0
    return report


def test_a_sweep_stops_when_the_loss_explodes_and_suggests_a_rate_below(swept: Path) -> None:
    report = read_report(swept)
    suggested, exploded = value(report, "suggested_lr"), value(report, "exploded_lr")
    assert 1e-6 < suggested < exploded < 1000
    assert len(report.details["losses"]) == len(report.details["rates"]) < 80
    assert report.details["losses"][0] == pytest.approx(np.log(3), abs=0.6)  # Nothing is learnt yet.
    assert np.diff(np.log(report.details["rates"])) == pytest.approx(np.log(1e9) / 79)


def test_every_param_group_keeps_its_multiple(swept: Path) -> None:
    multiples = {group["name"]: group["multiple"] for group in read_report(swept).details["param_groups"]}
    assert multiples["head/decay"] == pytest.approx(10) and multiples["early/decay"] == pytest.approx(0.01)


def test_the_page_is_one_file_with_the_plot(swept: Path) -> None:
    page = (swept / "report.html").read_text()
    assert f"{value(read_report(swept), 'suggested_lr'):.1e}" in page
    assert "<svg" in page and "<script" not in page and 'src="http' not in page


def test_the_training_that_is_to_come_has_no_part_in_it(
    swept: Path, tiny_dataset: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    more = {"base-lr": "0.5", "num-epochs": "7"}
    assert main(FindLr, arguments(tiny_dataset, tiny_weights, tmp_path / "r", **more)) == 0
    once, again = (read_report(folder).details["losses"] for folder in (swept, tmp_path / "r"))
    assert once[:20] == pytest.approx(again[:20], rel=1e-3)


def test_a_sweep_that_explodes_at_once_says_so(
    tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = {"lowest-lr": "1e30", "highest-lr": "1e33"}
    assert main(FindLr, arguments(tiny_dataset, tiny_weights, tmp_path / "r", **more)) == 2
    assert "Lower --lowest-lr" in capfd.readouterr().err
    assert not (tmp_path / "r").exists()


def test_the_command_prints_the_rate_and_where_the_page_lies(
    tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.find_lr.exit_code_of", lambda command: warm.run(*command[2:]).returncode)
    argv = ["find-lr", "--dataset", str(tiny_dataset), "--backbone", "test_resnet", "--weights", str(tiny_weights)]
    own = {"num-steps": "40", "lowest-lr": "1e-5", "highest-lr": "100"}
    training = {name: value for name, value in SETTINGS.items() if name not in own}
    argv += [word for name, value in training.items() for word in ("--set", f"finetune.{name}={value}")]
    argv += [word for name, value in own.items() for word in (f"--{name}", value)]
    done = CliRunner().invoke(app, [*argv, "--output", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["suggested_lr"] > 0 and Path(found["report"]).is_file()
    rates = read_report(tmp_path / "out").details["rates"]
    assert rates[0] == pytest.approx(1e-5) and rates[1] / rates[0] == pytest.approx(1e7 ** (1 / 39))


def test_a_wrong_dataset_is_exit_code_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["find-lr", "--dataset", str(tmp_path / "no"), "--output", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_each_range_test_has_a_folder_of_its_own(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipelines.find_lr.exit_code_of", lambda command: asked.append(command) or 2)
    for _ in range(2):
        assert CliRunner().invoke(app, ["find-lr", "--dataset", str(tiny_dataset)]).exit_code == 2
        (tmp_path / "find-lr").mkdir(exist_ok=True)
    assert [command[command.index("--report") + 1] for command in asked] == ["find-lr", "find-lr-2"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--num-steps", "5"], "graft: --num-steps: input should be greater than or equal to 20, got 5.\n"),
        (["--lowest-lr", "2"], "graft: highest_lr=1 must be above lowest_lr=2.\n"),
        (["--set", "gate.max-p99-ms=3"], "graft: --set gate.max-p99-ms=3: expected parameters of finetune alone"),
        (["--set", "finetune.batch-size=1"], "finetune.batch-size=1: input should be greater than or equal to 2"),
    ],
)
def test_a_wrong_setting_is_exit_code_2(option: list[str], said: str, tiny_dataset: Path, tmp_path: Path) -> None:
    argv = ["find-lr", "--dataset", str(tiny_dataset), "--output", str(tmp_path / "out"), *option]
    done = CliRunner().invoke(app, argv)
    assert done.exit_code == 2 and said in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_help_states_the_defaults_of_the_spec() -> None:
    shown = " ".join(CliRunner().invoke(app, ["find-lr", "--help"]).stdout.split())
    for name in ("lowest_lr", "highest_lr", "num_steps"):
        assert f"[default: ({FindLr.model_fields[name].default:g})]" in shown, name


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom pipelines.cli import app\nimport pipelines.find_lr\n"
        "assert CliRunner().invoke(app, ['find-lr', '--help']).exit_code == 0\nassert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def value(report: Report, name: str) -> float:
    row = report.row(name, split="train")
    assert row is not None and isinstance(row.value, float)
    return row.value
