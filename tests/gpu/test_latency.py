"""Latency on a GPU: that the CUDA provider ran the nodes. Skipped where there is none."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from components.interchange.cli import main
from components.interchange.onnx_model import MODEL_FILE, answer
from components.interchange.providers import CPU_PROVIDER, CUDA_PROVIDER, present, with_fallback
from components.interchange.report import read_report
from components.latency.session import open_session, session_options
from components.latency.spec import Latency
from pipelines.fingerprints import device_kind

NO_GPU = "there is no GPU" if not device_kind("auto").startswith("cuda") else ""
NO_PROVIDER = "" if CUDA_PROVIDER in present() else "this onnxruntime has no CUDA provider: install graft[latency-gpu]"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(NO_GPU or NO_PROVIDER), reason=NO_GPU or NO_PROVIDER)]
SHAPES_ALONE = {
    "Shape",
    "Gather",
    "Unsqueeze",
    "Concat",
    "Cast",
    "Slice",
    "Squeeze",
}  # These stay on the CPU by design.


def test_the_cuda_provider_runs_the_nodes(tiny_onnx_model: Path, tmp_path: Path) -> None:
    options = session_options(1)
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = ort.InferenceSession(tiny_onnx_model / MODEL_FILE, options, providers=with_fallback(CUDA_PROVIDER))
    (fed,) = session.get_inputs()
    shape = [side if isinstance(side, int) else 1 for side in fed.shape]
    session.run(None, {fed.name: np.zeros(shape, np.uint8)})
    events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event["args"] for event in events if event["cat"] == "Node" and "provider" in event["args"]]
    assert {node["provider"] for node in nodes} <= {CUDA_PROVIDER, CPU_PROVIDER}
    on_the_cpu = {node["op_name"] for node in nodes if node["provider"] == CPU_PROVIDER}
    assert "Conv" in "".join(node["op_name"] for node in nodes if node["provider"] == CUDA_PROVIDER)
    assert on_the_cpu <= SHAPES_ALONE


def test_latency_measures_on_the_gpu_and_answers_the_same(
    tiny_onnx_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    argv = ["--onnx-model", str(tiny_onnx_model), "--dataset", str(tiny_dataset), "--report", str(tmp_path / "report")]
    assert main(Latency, [*argv, "--device", "cuda", "--timed-runs", "500", "--throughput-s", "0.1"]) == 0
    assert CUDA_PROVIDER in (tmp_path / "report" / "report.json").read_text()
    assert read_report(tmp_path / "report").rows
    on_gpu, card = open_session(tiny_onnx_model, CUDA_PROVIDER, 1)
    on_cpu, _ = open_session(tiny_onnx_model, CPU_PROVIDER, 1)
    side = card.preprocessing.crop_px
    pixels = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    np.testing.assert_allclose(answer(on_gpu, pixels), answer(on_cpu, pixels), atol=1e-2)
