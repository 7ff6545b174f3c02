"""ONNX's operator set 18 in the words of 17, for graphs that torch wrote.

What 18 changed (onnx, docs/Changelog.md) is mostly form: reductions take axes as an input, not as an attribute, Split a
number of parts, Pad axes. onnx's own converter knows no way back for Split and Pad.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.defs import SchemaError, get_schema

SOURCE, TARGET = 18, 17


def to_opset_17(model: onnx.ModelProto) -> list[str]:
    """Rewrite a model of operator set 18 in place; what 17 cannot express, in words: then the model is of no use."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes = {value.name: _shape(value) for value in (*graph.value_info, *graph.input)}
    problems = set()
    for node in graph.node:
        if node.op_type == "Split":
            _say_sizes(node, shapes, graph)
        elif node.op_type.startswith("Reduce") and len(node.input) > 1 and node.op_type != "ReduceSum":
            _say_axes(node, constants)
        problems.update(_left_over(node))
    _drop_unused(graph)
    for imported in model.opset_import:
        imported.version = TARGET if imported.domain in ("", "ai.onnx") else imported.version
    return sorted(problems)


def _say_axes(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    """A reduction's axes as an attribute, where they are known."""
    axes = constants.get(node.input[1])
    if axes is None or not axes.dims[0]:
        return
    del node.input[1]
    _drop(node, "noop_with_empty_axes")  # Of no meaning: they are not empty.
    node.attribute.append(helper.make_attribute("axes", numpy_helper.to_array(axes).tolist()))


def _say_sizes(node: onnx.NodeProto, shapes: Mapping[str, list[int | None]], graph: onnx.GraphProto) -> None:
    """A Split's parts by their sizes, where it is told their number and they are not equal; equal ones go unsaid."""
    parts = next((one.i for one in node.attribute if one.name == "num_outputs"), None)
    axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
    shape = shapes.get(node.input[0])
    size = shape[axis] if shape else None
    if parts is None or size is None:
        return
    _drop(node, "num_outputs")
    if size % parts:
        most = -(-size // parts)
        sizes = np.array([most] * (parts - 1) + [size - most * (parts - 1)], np.int64)
        graph.initializer.append(numpy_helper.from_array(sizes, f"{node.output[0]}_sizes"))
        node.input.append(f"{node.output[0]}_sizes")


def _left_over(node: onnx.NodeProto) -> list[str]:
    """What of a node 17 does not know. Attributes that it does not know and that say 18's default are dropped."""
    try:
        known = get_schema(node.op_type, TARGET, node.domain)
    except SchemaError:
        return [f"{node.op_type} (not in opset {TARGET})"]
    found = []
    for attribute in [one for one in node.attribute if one.name not in known.attributes]:
        default = get_schema(node.op_type, SOURCE, node.domain).attributes[attribute.name].default_value
        if helper.get_attribute_value(attribute) == helper.get_attribute_value(default):
            node.attribute.remove(attribute)
        else:
            found.append(f"{node.op_type} with {attribute.name}")
    if len(node.input) > known.max_input:
        found.append(f"{node.op_type} with {len(node.input)} inputs")
    return found


def _drop(node: onnx.NodeProto, name: str) -> None:
    for attribute in [one for one in node.attribute if one.name == name]:
        node.attribute.remove(attribute)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Drop constants that no node reads any longer."""
    used = {name for node in graph.node for name in node.input}
    for tensor in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(tensor)


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    return [one.dim_value if one.HasField("dim_value") else None for one in value.type.tensor_type.shape.dim]
