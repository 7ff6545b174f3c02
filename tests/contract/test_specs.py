"""A spec is the one statement of a step's interface: documented, round-tripping, closed."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.ingest.spec import Ingest
from components.interchange.cli import argv_of, main, parse
from components.interchange.errors import BadInput
from components.interchange.step import RunContext, Spec, given_parameters, parameters, ports
from components.interchange.step_help import step_help

NAMES = {
    "ingest": "Ingest",
    "ingest.share": "IngestShare",
    "ingest.merge": "IngestMerge",
    "feature_extraction": "FeatureExtraction",
    "finetune": "Finetune",
    "finetune.find_lr": "FindLr",
    "evaluate": "Evaluate",
    "export_onnx": "ExportOnnx",
    "latency": "Latency",
    "gate": "Gate",
    "promote": "Promote",
    "changes": "Changes",
    "record": "Record",
}
SPECS: list[type[Spec]] = [
    getattr(importlib.import_module(f"components.{step}.spec"), name) for step, name in NAMES.items()
]
VALUES = {"shard": "1/2", "status": '{"state": "SUCCEEDED"}'}


def example(spec: type[Spec]) -> Spec:
    """A spec with every artifact given and the defaults elsewhere."""
    artifacts: dict[str, Any] = {}
    for port in ports(spec, "in") + ports(spec, "out"):
        place = Path(f"/in out/{port.name}")
        artifacts[port.name] = (place / "1", place / "2") if port.many else place
    required = {p.name: VALUES.get(p.name, "somewhere") for p in parameters(spec) if p.required}
    return spec.model_validate({**artifacts, **required})


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.__name__)
def test_everything_is_documented(spec: type[Spec]) -> None:
    assert spec.__doc__
    undocumented = [item.name for item in [*ports(spec, "in"), *ports(spec, "out"), *parameters(spec)] if not item.help]
    assert not undocumented


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.__name__)
def test_flags_make_the_same_spec_again(spec: type[Spec]) -> None:
    given, context = example(spec), RunContext(store="file:///a store", run_id="r1", model_name="m")

    assert parse(spec, argv_of(given, context)) == (given, context)


def test_flags_carry_every_type() -> None:
    from components.finetune.spec import Finetune
    from components.gate.spec import Gate
    from components.latency.spec import Latency

    gate = example(Gate).model_copy(update={"allow_class_change": True, "max_p99_ms": 12.5, "promote_if": "faster"})
    latency = example(Latency).model_copy(update={"throughput_batches": (1, 3)})
    finetune = example(Finetune).model_copy(update={"weights": "a file, with spaces.pth", "input_size_px": 64})

    for spec in (gate, latency, finetune):
        assert parse(type(spec), argv_of(spec))[0] == spec


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.__name__)
def test_locations_are_not_recorded(spec: type[Spec]) -> None:
    """A report or card of the same work on another machine must be the same."""
    recorded = given_parameters(example(spec))

    assert not recorded.keys() & {p.name for p in [*ports(spec, "in"), *ports(spec, "out")]}
    assert not recorded.keys() & {"source", "weights"}


def test_an_environment_variable_is_no_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    from components.finetune.spec import Finetune

    monkeypatch.setenv("SEED", "77")
    monkeypatch.setenv("BASE_LR", "0.5")

    assert parse(Finetune, argv_of(example(Finetune)))[0] == example(Finetune)


def test_all_wrong_values_are_listed_at_once() -> None:
    from components.finetune.spec import Finetune

    argv = [*argv_of(example(Finetune)), "--base-lr", "-1", "--freeze", "everything", "--num-epochs", "0"]
    with pytest.raises(BadInput) as error:
        parse(Finetune, argv)

    for flag in ("--base-lr", "--freeze", "--num-epochs"):
        assert flag in str(error.value)


def test_misspelt_flags_are_named_with_what_they_may_mean() -> None:
    told = r"^unknown flag --datset\. Close: --dataset.*; unknown flag --sourc\. Close: --source.* lists them all\.$"
    with pytest.raises(BadInput, match=told):
        parse(Ingest, ["--datset", "here", "--sourc=there"])


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--dataset", "--report", "r"], "--dataset has no value: expected --dataset VALUE."),
        (["--report=r", "--dataset"], "--dataset has no value: expected --dataset VALUE."),
        (["--dataset", "d", "report", "r"], "'report' follows no flag: expected --NAME VALUE.; 'r' follows no flag"),
        (["-x"], "'-x' follows no flag: expected --NAME VALUE."),
    ],
)
def test_a_flag_without_a_value_and_a_stray_word_are_a_line(argv: list[str], told: str) -> None:
    with pytest.raises(BadInput) as refusal:
        parse(Ingest, argv)
    assert str(refusal.value).startswith(told) and str(refusal.value).endswith(" --help` lists them all.")


def test_flags_that_lack_are_named_and_no_more() -> None:
    from components.ingest.spec import Ingest

    with pytest.raises(BadInput, match=r"^--dataset is required; --report is required$"):
        parse(Ingest, ["--source", "images"])


@pytest.mark.parametrize("argv", [[], ["--dataset", "x"], ["--no-such-flag", "1"]])
def test_a_wrong_command_line_is_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from components.finetune.spec import Finetune

    try:
        code: object = main(Finetune, argv)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("step", NAMES)
def test_help_answers(step: str) -> None:
    environment = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-m", f"components.{step}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert done.returncode == 0
    spec = SPECS[list(NAMES).index(step)]
    flags = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  --")}
    assert flags == set(argv_of(example(spec), RunContext(store="s", run_id="r", executor_input="{}"))[::2]) | {
        f"--{one.name.replace('_', '-')}" for one in parameters(spec)
    }
    assert max(map(len, done.stdout.splitlines())) <= 80 and "None" not in done.stdout


def test_help_tells_types_units_bounds_and_defaults() -> None:
    from components.finetune.spec import Finetune
    from components.latency.spec import Latency

    told = " ".join((step_help(Finetune, "finetune") + step_help(Latency, "latency")).split())
    for words in (
        "usage: finetune --dataset DIR --classifier DIR --report DIR [options]",
        "--base-lr X Peak learning rate of the late stage (over 0; default: 0.001)",
        "--stage-multipliers X,X,X,X Rates of early, middle, late and head, as multiples of base_lr (default: 0.01,0.1",
        "--unfreeze-at N,... Epochs",
        "--freeze none|early|middle|late",
        "--compile-model true|false",
        "a part of 35 to 100 % of the area",
        "pace (requests/s; over 0)",
    ):
        assert words in told, words


def test_a_name_that_no_record_can_hold_is_refused_before_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    from components.ingest.spec import Ingest

    assert main(Ingest, ["--source", "folder \udcff", "--dataset", "d", "--report", "r"]) == 2
    assert "is no UTF-8 text" in capsys.readouterr().err
