"""What promote reads, writes and can be told."""

from pathlib import Path

from components.interchange.step import Spec, reads, writes


class Promote(Spec):
    """Publish the model and swap the champion pointer, atomically; only on the verdict `promote`."""

    onnx_model: Path = reads("onnx_model", "The model to publish")
    gate_report: Path = reads("report", "The gate's report with the verdict")
    report: Path = writes("report", "What was published, what it replaced")
