"""Faults put into the graph on its way to the file: the export refuses the file, or says that it is not eligible.

The kinds that lie elsewhere: another resize filter, EXIF, crop and class order of a client in
`tests/pipelines/test_conformance.py`, numbers beyond fp16 in `test_precisions.py`, files altered afterwards in
`tests/interchange/test_onnx_model.py`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from components.export_onnx.check import InvalidModel
from components.export_onnx.spec import ExportOnnx
from components.interchange.cards import read_onnx_card
from components.interchange.cli import main
from components.interchange.report import read_report
from tests.export_onnx.test_export_onnx import export_argv

Model = onnx.ModelProto


def _constant(model: Model, name: str, values: object, kind: type[np.generic]) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.array(values, kind), f"{name} of the fault"))
    return f"{name} of the fault"


def _before_everything(model: Model, operator: str, *inputs: str, **attributes: object) -> None:
    """Put a node between the input and all who read it."""
    for node in model.graph.node:
        node.input[:] = ["changed" if name == "pixels" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node(operator, ["pixels", *inputs], ["changed"], **attributes))


def _after_everything(model: Model, operator: str, *inputs: str, **attributes: object) -> None:
    """Put a node between the last one and the output."""
    for node in model.graph.node:
        node.output[:] = ["right" if name == "logits" else name for name in node.output]
    model.graph.node.append(helper.make_node(operator, ["right", *inputs], ["logits"], **attributes))


def another_mean(model: Model) -> None:
    (subtraction,) = [node for node in model.graph.node if node.op_type == "Sub"]
    subtraction.input[1] = _constant(model, "mean", [[[[0]], [[255]], [[0]]]], np.float32)


def bgr(model: Model) -> None:
    _before_everything(model, "Gather", _constant(model, "order", [2, 1, 0], np.int64), axis=3)


def upside_down(model: Model) -> None:
    _before_everything(model, "Gather", _constant(model, "rows", list(range(31, -1, -1)), np.int64), axis=1)


def shuffled_classes(model: Model) -> None:
    _after_everything(model, "Gather", _constant(model, "classes", [1, 2, 0], np.int64), axis=1)


def probabilities(model: Model) -> None:
    _after_everything(model, "Softmax", axis=1)


def not_a_number(model: Model) -> None:
    _after_everything(model, "Mul", _constant(model, "nothing", np.nan, np.float32))


def batch_declared_as_1(model: Model) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def batch_of_1_inside(model: Model) -> None:
    """The interface says any batch, but a shape was frozen when the graph was traced."""
    _after_everything(model, "Reshape", _constant(model, "shape", [1, 3], np.int64))


def first_of_the_batch(model: Model) -> None:
    """No declared or inferred shape tells: it must be run."""
    ends = [_constant(model, name, [value], np.int64) for name, value in (("from", 0), ("to", 1), ("axis", 0))]
    _after_everything(model, "Slice", *ends)


def another_opset(model: Model) -> None:
    model.opset_import[0].version = 16


def other_class_names(model: Model) -> None:
    (classes,) = [entry for entry in model.metadata_props if entry.key == "classes"]
    classes.value = '["red", "green", "blue"]'


@pytest.fixture
def export_with(
    tiny_onnx_model: Path, tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Model], None]], int]:
    """Run the step with a fault in what the exporter returns; the exit code."""

    def export(fault: Callable[[Model], None]) -> int:
        def to_onnx(*_: object) -> Model:
            model = onnx.load(tiny_onnx_model / "model.onnx")
            fault(model)
            return model

        monkeypatch.setattr("components.export_onnx.run.to_onnx", to_onnx)
        argv = export_argv(tiny_dataset, tiny_classifier, tmp_path, "--golden-samples", "1", "--max-batch", "3")
        return main(ExportOnnx, argv)

    return export


@pytest.mark.parametrize(
    ("fault", "flips"),
    [(another_mean, False), (bgr, False), (upside_down, False), (shuffled_classes, True), (probabilities, False)],
)
def test_another_computation_is_found_by_parity(
    fault: Callable[[Model], None], flips: bool, export_with: Callable[..., int], tmp_path: Path
) -> None:
    assert export_with(fault) == 0  # A step that measures finishes; the gate refuses.

    card, report = read_onnx_card(tmp_path / "onnx_model"), read_report(tmp_path / "report")
    assert card.eligible is False
    assert any("the largest logit difference is" in reason for reason in card.ineligible_because)
    found = report.row("flips")
    assert found is not None and found.value == len(report.details["flips"])
    assert not flips or len(report.details["flips"]) > 0


def test_logits_that_are_no_numbers_are_not_eligible(export_with: Callable[..., int], tmp_path: Path) -> None:
    assert export_with(not_a_number) == 0

    assert "some logits are not finite" in read_onnx_card(tmp_path / "onnx_model").ineligible_because


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (batch_declared_as_1, "inputs: found .*1, 32, 32, 3.*expected .*dynamic"),
        (batch_of_1_inside, r"outputs: found .*\[1, 3\].*expected .*dynamic"),
        (first_of_the_batch, r"logits of a batch of 2 have shape \(1, 3\)"),
        (another_opset, "opset: found 16, expected 17"),
        (other_class_names, "metadata: found .*red.*green.*blue.*expected .*blue"),
    ],
)
def test_a_file_that_is_not_what_was_asked_for_is_not_written(
    fault: Callable[[Model], None],
    words: str,
    export_with: Callable[..., int],
    tmp_path: Path,
) -> None:
    with pytest.raises(InvalidModel, match=f"(?s){words}"):  # Our own exporter's fault, not the user's: a crash.
        export_with(fault)

    assert not (tmp_path / "onnx_model").exists()
    assert not (tmp_path / "report").exists()
