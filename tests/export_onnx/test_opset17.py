"""Nodes of operator set 18 in the words of 17: the same answers, or what cannot be said."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from components.export_onnx.opset17 import to_opset_17

X_NCHW = np.random.default_rng(0).standard_normal((2, 7, 4, 6)).astype(np.float32)


def model_of(op_type: str, *more: list[int], outputs: int = 1, **attributes: object) -> onnx.ModelProto:
    """One node of opset 18 that reads `x`, float32 [batch, 7, 4, 6], and constants."""
    constants = [numpy_helper.from_array(np.array(one, np.int64), f"c{number}") for number, one in enumerate(more)]
    names = [f"y{number}" for number in range(outputs)]
    node = helper.make_node(op_type, ["x", *(one.name for one in constants)], names, **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *X_NCHW.shape[1:]])
    found = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    graph = helper.make_graph([node], "one", [x], found, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def answers(model: onnx.ModelProto) -> list[NDArray[np.float32]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X_NCHW})  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "model",
    [
        model_of("ReduceMean", [2, 3], keepdims=0, noop_with_empty_axes=0),
        model_of("ReduceMax", [1], noop_with_empty_axes=1),
        model_of("ReduceL2", keepdims=1),
        model_of("ReduceSum", [1], keepdims=0),
        model_of("Split", axis=2, num_outputs=2, outputs=2),
        model_of("Split", axis=-3, num_outputs=3, outputs=3),
        model_of("Split", [1, 6], axis=1, outputs=2),
        model_of("Pad", [0, 0, 1, 0, 0, 0, 0, 2], mode="edge"),
    ],
    ids=["mean", "max", "l2 of all", "sum", "equal parts", "unequal parts", "given sizes", "pad"],
)
def test_17_answers_as_18_did(model: onnx.ModelProto) -> None:
    before = answers(model)
    assert to_opset_17(model) == []
    onnx.checker.check_model(model, full_check=True)
    assert [imported.version for imported in model.opset_import] == [17]
    for found, expected in zip(answers(model), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (model_of("Mish"), "Mish (not in opset 17)"),
        (model_of("ReduceMean", noop_with_empty_axes=1), "ReduceMean with noop_with_empty_axes"),
        (model_of("Split", axis=0, num_outputs=2, outputs=2), "Split with num_outputs"),
    ],
    ids=["mish", "no reduction", "parts of the batch"],
)
def test_what_17_cannot_say_is_named(model: onnx.ModelProto, words: str) -> None:
    assert to_opset_17(model) == [words]


def test_axes_of_a_pad_are_named_and_a_constant_that_others_read_stays() -> None:
    model = model_of("ReduceMean", [2])
    model.graph.node.append(helper.make_node("ReduceSum", ["x", "c0"], ["sum"]))
    assert to_opset_17(model) == []
    assert [tensor.name for tensor in model.graph.initializer] == ["c0"]
    padded = model_of("Pad", [1, 1])
    padded.graph.node[0].input.extend(["", "axes"])
    assert to_opset_17(padded) == ["Pad with 4 inputs"]
