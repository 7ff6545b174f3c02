"""torch to ONNX: uint8 RGB pixels in, logits out, normalisation inside, dynamic batch, the opset that was asked for.

torch's graph exporter writes opset 18 at least (asked for 17 it fails to convert and says 18); its older tracing
exporter writes 17, with hundreds of nodes of shape arithmetic for backbones with TensorFlow's "same" padding. So: the
graph exporter at 18, then the nodes whose form is new in 18 in the words of 17. Equal weights give equal bytes.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from components.export_onnx.opset17 import SOURCE, TARGET, to_opset_17
from components.interchange.cards import InputLayout
from components.interchange.errors import BadInput
from components.interchange.onnx_model import INPUT_NAME, OUTPUT_NAME
from components.interchange.pixels_to_logits import PixelsToLogits

log = logging.getLogger("graft")
MOST_WORDS = 300  # Characters of torch's own words for why a backbone cannot be exported.
IR_VERSION = 8  # The format version that came with opset 17; older runtimes refuse what is newer than they are.


class _Exported(nn.Module):
    """PixelsToLogits for [N, 3, H, W] on 0 to `white`.

    Mean and std are as wide as a row, [1, 3, 1, W]: onnxruntime normalises an int8 model's pixels channels-last, and
    there it would repeat [1, 1, 1, 3] three numbers at a time.
    """

    def __init__(self, pixels_to_logits: PixelsToLogits, crop_px: int, white: int) -> None:
        super().__init__()
        self.model = pixels_to_logits.model
        for name in ("mean", "std"):
            scaled = pixels_to_logits.get_buffer(name) / (255 / white)
            self.register_buffer(name, scaled.repeat(1, 1, 1, crop_px), persistent=False)

    def forward(self, pixels: Tensor) -> Any:
        return self.model((pixels - self.get_buffer("mean")) / self.get_buffer("std"))


class _FromBytes(_Exported):
    """PixelsToLogits for uint8 [N, H, W, 3], with the images copied to NCHW memory.

    In channels-last memory, as training likes it, global pooling is traced as a gather over computed strides.
    """

    def forward(self, pixels: Tensor) -> Any:
        return super().forward(pixels.permute(0, 3, 1, 2).float().contiguous())


def to_onnx(
    model: PixelsToLogits, crop_px: int, opset: int, metadata: dict[str, str], layout: InputLayout = "uint8-nhwc"
) -> onnx.ModelProto:
    """An ONNX model of `model` (on the CPU): `pixels` of this layout, dynamic batch, to `logits` float32 [batch, C].

    BadInput when `opset` lacks what the backbone needs, and when torch cannot export it.
    """
    for chatty in ("onnx_ir", "onnxscript"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Two: a batch of one would be a constant.
    example = torch.zeros(2, crop_px, crop_px, 3, dtype=torch.uint8)
    adapted: nn.Module = _FromBytes(model.eval(), crop_px, white=255)
    if layout == "float32-nchw":
        example, adapted = torch.zeros(2, 3, crop_px, crop_px), _Exported(model.eval(), crop_px, white=1)
    try:
        with _out_of_place(adapted):
            program = _program(adapted, example, max(opset, SOURCE))
    except torch.onnx.OnnxExporterError as error:
        raise BadInput(
            f"torch {torch.__version__} cannot export this backbone to ONNX. Choose another one. ({_innermost(error)})"
        ) from None
    assert program is not None
    _register_constants(program.model.graph)
    graph_model = program.model_proto
    if opset == TARGET and (problems := to_opset_17(graph_model)):
        raise BadInput(f"--opset {TARGET} cannot express {', '.join(problems)}. Ask for --opset {SOURCE}.")
    return tidy(graph_model, metadata)


@contextmanager
def _out_of_place(model: nn.Module) -> Iterator[None]:
    """Activations in place compute the same, and torch takes up to twice as long to trace them (ReLU6)."""
    changed: list[Any] = [module for module in model.modules() if getattr(module, "inplace", False) is True]
    for module in changed:
        module.inplace = False
    try:
        yield
    finally:
        for module in changed:
            module.inplace = True


def _program(model: nn.Module, example: Tensor, opset: int) -> Any:
    """torch's program; where its exporter fails at fused attention with a mask (BEiT, MaxViT), without the fusion.

    It computes the same, as parity shows afterwards, and in ONNX there is no fused attention anyway.
    """
    try:
        return _exported(model, example, opset)
    except torch.onnx.OnnxExporterError:
        fused: list[Any] = [module for module in model.modules() if getattr(module, "fused_attn", False)]
        if not fused:
            raise
        log.info("fused_attention=off: torch cannot export it with this backbone")
        for module in fused:
            module.fused_attn = False
        try:
            return _exported(model, example, opset)
        finally:
            for module in fused:
                module.fused_attn = True


def _exported(model: nn.Module, example: Tensor, opset: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About torch's own deprecations, inside torch.
        return torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )


def _register_constants(graph: Any) -> None:
    """Give the graph the constants that its nodes read and that torch leaves out: bounds, where several modules clamp
    one tensor to buffers of their own (Gemma4-ViT).
    """
    read = {value.name: value for node in graph for value in node.inputs if value is not None}
    for name, value in read.items():
        if value.const_value is not None and value.producer() is None and name not in graph.initializers:
            graph.register_initializer(value)


def _innermost(error: BaseException) -> str:
    """The first line of what an error comes from: torch wraps it in advice over many lines."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:MOST_WORDS]}"


def opset_of(model: onnx.ModelProto) -> int | None:
    """The version of ONNX's own operator set that a file says; None when it says none."""
    return next((imported.version for imported in model.opset_import if imported.domain in ("", "ai.onnx")), None)


def tidy(model: onnx.ModelProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """Strip what tells of this machine, this run or a tool (stack traces, paths, marks), and write the metadata."""
    graph = model.graph
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    used = {node.domain for node in graph.node} | {""}
    imported = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imported)
    model.doc_string = graph.doc_string = ""
    graph.name = "classifier"
    model.producer_name, model.producer_version = "graft", ""
    model.ir_version = IR_VERSION if opset_of(model) == TARGET else model.ir_version
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    return model
