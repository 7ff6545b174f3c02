"""From recipe, options and --set to the parameters of every step."""

from pathlib import Path

import pytest

from components.interchange.errors import BadInput
from components.interchange.step import parameters
from pipelines.defaults import SOURCES, defaults
from pipelines.parameters import for_backbone, given_here, merged, nowhere, parsed, seeded, spec_of, values_of
from pipelines.recipes import RECIPES, recipe
from pipelines.run_options import RunOptions, Strategy
from pipelines.runner import StepFailed
from pipelines.session import request_for
from pipelines.steps import BY_NAME, STEPS, graph_for
from pipelines.terminal import failure_line


@pytest.mark.parametrize(
    ("assignment", "step", "name", "value"),
    [
        ("gate.max-p99-ms=40", "gate", "max_p99_ms", 40.0),
        ("gate.max_p99_ms=null", "gate", "max_p99_ms", None),
        ("export-onnx.opset=18", "export_onnx", "opset", 18),
        ("latency.throughput-batches=8,16", "latency", "throughput_batches", (8, 16)),
        ("export-onnx.variants=fp16,int8", "export_onnx", "variants", ("fp16", "int8")),
        ("export-onnx.variants=int8", "export_onnx", "variants", ("int8",)),
        ("latency.throughput-batches=[4]", "latency", "throughput_batches", (4,)),
        ("gate.allow-class-change=true", "gate", "allow_class_change", True),
        ("finetune.weights=a=b.pth", "finetune", "weights", "a=b.pth"),
        ("ingest.label-column=2024", "ingest", "label_column", "2024"),
    ],
)
def test_a_value_has_the_type_that_the_spec_says(assignment: str, step: str, name: str, value: object) -> None:
    assert parsed([assignment], STEPS) == {step: {name: value}}


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("gate.max-p99-m=40", "unknown parameter. Close: max-p99-ms"),
        ("gats.max-p99-ms=40", "unknown step 'gats'. Close: gate."),
        ("gate.max-p99-ms=-1", "greater than 0, got '-1'"),
        ("gate.max-p99-ms=fast", "valid number"),
        ("gate.max-p99-ms=inf", "finite number, got 'inf'"),
        ("export-onnx.variants=fp16,int4", "input should be 'fp32', 'fp16' or 'int8', got 'fp16,int4'"),
        ("latency.throughput-batches=8,many", "valid integer"),
        ("latency.throughput-batches=0", "greater than 0"),
        ("finetune.stage-multipliers=1,2", "expected 4 values, got '1,2'"),
        ("finetune.lr-policy=steps", "'stages' or 'layer-decay'"),
        ("promote.loudly=yes", "It has no parameters."),
        ("finetune.dataset=/elsewhere", "unknown parameter"),
        ("gate.max-p99-ms", "expected STEP.PARAM=VALUE"),
        ("max-p99-ms=40", "expected STEP.PARAM=VALUE"),
    ],
)
def test_a_wrong_assignment_is_refused_in_words(assignment: str, words: str) -> None:
    with pytest.raises(BadInput, match=words.replace(".", r"\.")) as refusal:
        parsed([assignment], STEPS)
    assert assignment in str(refusal.value)


WEIGHTS = "--weights is --set finetune.weights=VALUE"


@pytest.mark.parametrize(
    ("words", "strategy", "told"),
    [
        ("--weights x: there is no such file.", "both", f"{WEIGHTS} (also of feature_extraction)"),
        ("--weights x: there is no such file.", "finetune", WEIGHTS),
        ("Lower --base-lr, or", "both", "--base-lr is --set finetune.base-lr=VALUE"),
        ("Run ingest with --stored-size-px 256.", "both", "--stored-size-px is --set ingest.stored-size-px=VALUE"),
        ("--weights store: add --store URI, or --weights x", "finetune", WEIGHTS),
        ("Take another --backbone, see --source, or graft run --strategy finetune.", "both", ""),
        ("a--weights, --dataset and -- nothing", "both", ""),
    ],
)
def test_a_steps_refusal_is_told_how_graft_run_is_given_its_options(words: str, strategy: Strategy, told: str) -> None:
    assert given_here(words, "finetune", graph_for(strategy)) == told


def test_a_scheduled_run_that_fails_says_it_too() -> None:
    refused = StepFailed("finetune", 2, "--weights x: there is no such file.")
    line = failure_line(RunOptions(source="images", strategy="finetune"), refused)
    assert line.endswith(
        f" model: failed: finetune refused its input: --weights x: there is no such file. Here {WEIGHTS}."
    )


def test_a_step_that_the_strategy_leaves_out_cannot_be_set() -> None:
    with pytest.raises(BadInput, match="finetune is left out by --strategy"):
        parsed(["finetune.num-epochs=1"], graph_for("feature_extraction"))


def test_a_plain_setting_reaches_every_step_that_has_it_and_an_owned_one_only_its_owner() -> None:
    values = values_of(recipe("demo"), STEPS, {})
    assert values["finetune"]["backbone"] == values["feature_extraction"]["backbone"] == "tf_efficientnet_lite0"
    assert values["ingest"]["stored_size_px"] == 256
    assert values["finetune"]["batch_size"] == 32
    assert "batch_size" not in values["evaluate"]


def test_later_layers_win(tmp_path: Path) -> None:
    request = request_for(
        RunOptions(str(tmp_path), str(tmp_path), recipe="demo", seed=7, set=("evaluate.seed=9", "finetune.base-lr=0.5"))
    )
    assert request.values["finetune"]["seed"] == 7
    assert request.values["evaluate"]["seed"] == 9
    assert request.values["finetune"]["base_lr"] == 0.5
    assert seeded(STEPS, 7).keys() == {"feature_extraction", "finetune", "evaluate"}
    with pytest.raises(BadInput, match=r"^--seed 9223372036854775808: input should be less than 9"):
        seeded(STEPS, 2**63)
    assert merged({"gate": {"margin": 1}}, {"gate": {"margin": 2}})["gate"] == {"margin": 2}


def test_another_backbone_brings_its_own_weights_and_sizes() -> None:
    values = for_backbone("efficientnet_b3", recipe("demo"), STEPS, {})
    assert values["finetune"] == {"backbone": "efficientnet_b3", "weights": "hub"}
    assert values["ingest"] == {"stored_size_px": 329, "interpolation": "bicubic"}

    unlisted = for_backbone("mobilenetv3_large_100", recipe("demo"), STEPS, {})
    assert unlisted["ingest"] == {"stored_size_px": 256, "interpolation": "bicubic"}


def test_an_unknown_backbone_is_refused_with_near_names() -> None:
    with pytest.raises(BadInput, match=r"unknown backbone 'resnt18'\. Close: .*resnet18"):
        for_backbone("resnt18", recipe("demo"), STEPS, {})


def test_an_unknown_recipe_is_refused_with_near_names() -> None:
    with pytest.raises(BadInput, match=r"unknown recipe 'prodction'\. Close: production\."):
        recipe("prodction")


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
def test_a_recipe_fits_the_specs(name: str) -> None:
    for step, values in values_of(recipe(name), STEPS, {"ingest": {"source": "somewhere"}}).items():
        spec_of(BY_NAME[step], values, nowhere(BY_NAME[step]))


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
def test_every_setting_of_a_recipe_is_a_parameter_of_a_step(name: str) -> None:
    known = {parameter for step in STEPS for parameter in step.spec.model_fields}
    known |= {f"{step.name}.{parameter}" for step in STEPS for parameter in step.spec.model_fields}
    assert {setting.name for setting in recipe(name).settings} <= known
    assert all(setting.source for setting in recipe(name).settings)


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
def test_images_are_stored_at_the_size_that_the_weights_were_made_for(name: str) -> None:
    import timm

    chosen = recipe(name)
    config = timm.get_pretrained_cfg(str(chosen.value("backbone")))
    assert chosen.value("stored_size_px") == round(config.input_size[-1] / config.crop_pct)
    assert chosen.value("interpolation") == config.interpolation


def test_every_default_is_listed_and_every_source_speaks_of_one() -> None:
    listed = {setting.name for setting in defaults()}
    assert SOURCES.keys() <= listed
    for recipe_ in RECIPES:
        shown = listed | {setting.name for setting in recipe_.settings}
        for step in STEPS:
            names = {parameter.name for parameter in parameters(step.spec) if not parameter.required}
            assert not {name for name in names if not {name, f"{step.name}.{name}"} & shown}
