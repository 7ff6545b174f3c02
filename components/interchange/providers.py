"""onnxruntime's execution providers: which are here, and that the one asked for is the one that runs."""

from typing import Any

import onnxruntime as ort

from components.interchange.cores import num_threads_if_limited
from components.interchange.errors import BadInput

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
OPENVINO_PROVIDER = "OpenVINOExecutionProvider"
# Fastest first. What onnxruntime offers beside these (Azure's remote one, always there) computes nothing here.
KNOWN = ("TensorrtExecutionProvider", CUDA_PROVIDER, OPENVINO_PROVIDER, CPU_PROVIDER)


def present() -> list[str]:
    """The known providers that this onnxruntime was built with; whether they start here is another matter."""
    available = ort.get_available_providers()
    return [name for name in KNOWN if name in available]


def own_options(num_threads: int | None = None) -> Any:
    """onnxruntime's own choice, but that threads which wait sleep, and no more than a container allows.

    Threads that spin, onnxruntime's default, made one image take twice as long on a core that others needed.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads_if_limited() if num_threads is None else num_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def with_fallback(provider: str) -> list[str]:
    """What to ask onnxruntime for: operators that the provider lacks run on the CPU."""
    if provider == CUDA_PROVIDER:
        ort.preload_dlls()  # CUDA and cuDNN come as Python packages, where no loader looks by itself.
    return [provider] if provider == CPU_PROVIDER else [provider, CPU_PROVIDER]


def check_provider(session: Any, wanted: str) -> None:
    """BadInput when a session does not run on the provider that was asked for: onnxruntime only warns of that."""
    found = session.get_providers()[0]
    if found != wanted:
        raise BadInput(
            f"onnxruntime could not start {wanted} and offers {found}. "
            "Check the driver and the provider's libraries, or use --device cpu."
        )
