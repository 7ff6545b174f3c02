"""Graft's steps. The version stands here, where an image has it too: there Graft is copied, not installed."""

import os

__version__ = "0.1.0"

# Before any of these libraries is imported: onnxruntime's own switch comes too late, it has asked for its host by then.
for _switch in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_switch, "1")
