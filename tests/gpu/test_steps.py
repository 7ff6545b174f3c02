"""The other steps that compute on a GPU give what they give on the CPU. Skipped where there is none."""

from pathlib import Path

import pytest
import torch

from components.doctor.pod import gpu_check
from components.evaluate.spec import Evaluate
from components.export_onnx.spec import ExportOnnx
from components.feature_extraction.spec import FeatureExtraction
from components.interchange.cards import read_classifier_card
from components.interchange.cli import main
from components.interchange.onnx_model import MODEL_FILE
from components.interchange.report import read_report

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


def test_the_baseline_is_the_same(tiny_dataset: Path, tiny_weights: Path, tmp_path: Path) -> None:
    histories = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        argv = ["--dataset", str(tiny_dataset), "--backbone", "test_resnet", "--weights", str(tiny_weights)]
        argv += ["--classifier", str(out / "c"), "--report", str(out / "r"), "--input-size-px", "32"]
        assert main(FeatureExtraction, [*argv, "--device", device]) == 0
        histories.append(read_classifier_card(out / "c").history)
    on_cpu, on_gpu = histories
    assert [one["val_nll"] for one in on_gpu] == pytest.approx([one["val_nll"] for one in on_cpu], abs=0.02)
    assert [one["val_top1"] for one in on_gpu] == pytest.approx([one["val_top1"] for one in on_cpu], abs=0.04)


def test_an_evaluation_is_the_same(tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path) -> None:
    found = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        argv = ["--dataset", str(tiny_dataset), "--candidate", str(tiny_classifier), "--device", device]
        assert main(Evaluate, [*argv, "--selected", str(out / "s"), "--report", str(out / "r")]) == 0
        rows = read_report(out / "r").rows
        found.append({(row.name, row.of, row.split): row.value for row in rows if row.name in ("top1", "nll")})
    on_cpu, on_gpu = found
    assert on_gpu == {name: pytest.approx(value, abs=0.02) for name, value in on_cpu.items()}


def test_an_export_is_the_same(
    tiny_dataset: Path, tiny_classifier: Path, tiny_onnx_model: Path, tmp_path: Path
) -> None:
    argv = ["--dataset", str(tiny_dataset), "--selected", str(tiny_classifier), "--golden-samples", "3"]
    argv += ["--onnx-model", str(tmp_path / "m"), "--report", str(tmp_path / "r"), "--device", "cuda"]
    assert main(ExportOnnx, argv) == 0
    assert (tmp_path / "m" / MODEL_FILE).read_bytes() == (tiny_onnx_model / MODEL_FILE).read_bytes()
    assert {row.value for row in read_report(tmp_path / "r").rows if row.name == "flips"} == {0}


def test_the_doctor_sees_the_gpu() -> None:
    check = gpu_check(1)
    assert check.state == "ok" and torch.cuda.get_device_name() in check.found
    assert gpu_check(torch.cuda.device_count() + 1).state == "fail"
