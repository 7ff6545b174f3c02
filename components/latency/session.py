"""The session under test: which provider, how many threads, which machine. Nothing is chosen silently."""

import platform
import re
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from components.interchange.cards import OnnxCard
from components.interchange.cores import num_cores
from components.interchange.errors import BadInput, listed
from components.interchange.onnx_model import MODEL_FILE, open_model
from components.interchange.providers import CPU_PROVIDER, CUDA_PROVIDER, OPENVINO_PROVIDER, present, with_fallback

Device = Literal["auto", "cpu", "cuda", "openvino"]
# Each device's provider, and the package that has it.
BY_DEVICE = {
    "cpu": (CPU_PROVIDER, "onnxruntime"),
    "cuda": (CUDA_PROVIDER, "onnxruntime-gpu"),
    "openvino": (OPENVINO_PROVIDER, "onnxruntime-openvino"),
}


def choose_provider(device: Device) -> str:
    """onnxruntime's provider for a device, `auto` being CUDA or CPU; BadInput where it is not here, no silent CPU."""
    if device == "auto":
        return CUDA_PROVIDER if CUDA_PROVIDER in present() else CPU_PROVIDER
    provider, package = BY_DEVICE[device]
    if provider not in present():
        raise BadInput(
            f"--device {device}: this onnxruntime has no {provider} (found: {listed(present())}). "
            f"Install {package}, which takes onnxruntime's place, or use --device cpu."
        )
    return provider


def session_options(num_threads: int) -> Any:
    """As a server runs it: every graph optimisation, one operator at a time, `num_threads` inside it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return options


def open_session(
    folder: Path, provider: str, num_threads: int, file: str = MODEL_FILE, hashed: bool = True
) -> tuple[Any, OnnxCard]:
    """Session and card; BadInput when onnxruntime offers another provider than this one."""
    asked = [(name, _threads(name, num_threads)) for name in with_fallback(provider)]
    return open_model(folder, asked, session_options(num_threads), file, hashed)


def _threads(provider: str, num_threads: int) -> dict[str, str]:
    """OpenVINO has threads of its own, which the session's options do not reach."""
    return {"num_of_threads": str(num_threads)} if provider == OPENVINO_PROVIDER else {}


def machine() -> dict[str, Any]:
    """What a figure of speed is worth nothing without: processor, cores, versions."""
    return {
        "processor": _processor(),
        "cores": num_cores(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "onnxruntime": ort.__version__,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    return named[1] if named else platform.processor() or platform.machine()
