"""A provider that was asked for is the one that runs, or it is an error."""

import warnings
from pathlib import Path

import onnxruntime as ort
import pytest

from components.interchange.errors import BadInput
from components.interchange.onnx_model import open_model
from components.interchange.providers import CPU_PROVIDER, CUDA_PROVIDER, KNOWN, present, with_fallback


def test_what_is_present_is_named_fastest_first_and_computes_here() -> None:
    assert present()[-1] == CPU_PROVIDER
    assert set(present()) <= set(KNOWN)
    assert with_fallback(CPU_PROVIDER) == [CPU_PROVIDER]
    assert with_fallback(CUDA_PROVIDER) == [CUDA_PROVIDER, CPU_PROVIDER]


@pytest.mark.skipif(CUDA_PROVIDER in ort.get_available_providers(), reason="CUDA is here")
def test_a_provider_that_was_replaced_is_an_error(tiny_onnx_model: Path) -> None:
    """onnxruntime itself only warns, and computes on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BadInput, match="could not start CUDAExecutionProvider and offers CPUExecutionProvider"):
            open_model(tiny_onnx_model, with_fallback(CUDA_PROVIDER))
