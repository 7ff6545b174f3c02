"""The latency step on a tiny real model: what it reports, what it refuses, and that it needs no torch."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from components.export_onnx.spec import ExportOnnx
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.providers import CUDA_PROVIDER, OPENVINO_PROVIDER
from components.interchange.report import read_report
from components.latency.fresh import fresh_processes, together
from components.latency.served import serve
from components.latency.session import choose_provider
from components.latency.spec import Latency

Copy = Callable[[Path], Path]


def absent(provider: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(provider in ort.get_available_providers(), reason=f"{provider} is here")


def latency_argv(model: Path, dataset: Path, report: Path, *more: str) -> list[str]:
    argv = ["--onnx-model", str(model), "--dataset", str(dataset), "--report", str(report), "--num-threads", "1"]
    return [
        *argv,
        "--timed-runs",
        "200",
        "--max-warmup-runs",
        "60",
        "--throughput-s",
        "0.05",
        "--processes",
        "2",
        *more,
    ]


def test_report_and_no_torch(tiny_onnx_model: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    more = ["--device", "cpu", "--max-p99-ms", "1e-4"]
    argv = latency_argv(tiny_onnx_model, tiny_dataset, tmp_path / "report", *more)
    program = (
        "import sys\nfrom components.interchange.cli import main\nfrom components.latency.spec import Latency\n"
        f"code = main(Latency, {argv!r})\nassert 'torch' not in sys.modules\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "provider=CPUExecutionProvider num_threads=1" in done.stderr
    report = read_report(tmp_path / "report")
    samples_ms = np.array(report.details["samples_ms"])
    assert len(samples_ms) == report.details["timed_runs"] == 200
    for percent in (50, 90, 99):
        row = report.row(f"p{percent}_ms", "batch 1")
        assert row is not None and (row.unit, row.n) == ("ms", 200)
        expected = np.percentile(samples_ms, percent, method="inverted_cdf")
        assert row.value == pytest.approx(expected, abs=1e-4)
        assert row.low is not None and row.low <= float(row.value or 0)
        assert (row.high is None) == (percent == 99)  # 200 runs give p99 no upper bound.
    for of in ("batch 8", "batch 32", "2 clients", "4 clients"):
        row = report.row("images_per_s", of)
        assert row is not None and float(row.value or 0) > 0
    for name, of in (("p90_ms", "end to end"), ("peak_rss_bytes", "cold start"), ("first_answer_ms", "cold start")):
        row = report.row(name, of)
        assert row is not None and float(row.value or 0) > 0
    colds = report.details["cold_starts"]
    cold = report.row("load_ms", "cold start")
    assert cold is not None and (cold.n, cold.value) == (2, np.median([one["load_ms"] for one in colds]))
    assert report.row("p99_ms", "end to end") is None  # 100 runs say nothing of p99.
    assert set(report.details["noise"]) == {"p50_difference", "p99_difference", "waiting"}
    assert report.details["noisy"] == any("too noisy" in words for words in report.details["warnings"])
    told = "p99 is over the budget of 0.0001 ms. What ships goes by gate's --max-p99-ms, not by this one."
    assert told in report.details["warnings"]
    assert "<svg" in (tmp_path / "report" / "report.html").read_text()
    assert report.details["provider"] == "CPUExecutionProvider"
    assert report.details["machine"]["onnxruntime"] == ort.__version__
    run = json.loads((tmp_path / "report" / "run.json").read_text())
    assert (run["provider"], run["num_threads"]) == ("CPUExecutionProvider", 1)


def test_a_budget_a_pace_and_the_precisions_of_a_float_model(
    tiny_dataset: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    places = ["--onnx-model", str(tmp_path / "onnx_model"), "--report", str(tmp_path / "exported")]
    argv = [*places, "--dataset", str(tiny_dataset), "--selected", str(tiny_classifier), "--input", "float32-nchw"]
    assert main(ExportOnnx, [*argv, "--variants", "int8", "--max-drop", "0", "--calibration-samples", "2"]) == 0
    more = ["--max-p99-ms", "100000", "--rate", "200", "--timed-runs", "1000", "--processes", "3"]
    assert main(Latency, latency_argv(tmp_path / "onnx_model", tiny_dataset, tmp_path / "report", *more)) == 0
    report = read_report(tmp_path / "report")
    verdict, paced, int8 = report.row("verdict"), report.row("p99_ms", "200 requests/s"), report.row("p50_ms", "int8")
    assert verdict is not None and verdict.value == "pass"
    assert "lies within the budget of 100000 ms." in (tmp_path / "report" / "report.html").read_text()
    assert paced is not None and paced.n == 1000
    assert report.details["overload"] is None and report.row("images_per_s", "200 requests/s") is not None
    assert int8 is not None and int8.n == 100
    assert "Medians in turn: fp32" in report.details["advice"]


def test_more_processes_than_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["--onnx-model", str(tmp_path), "--dataset", str(tmp_path), "--report", str(tmp_path / "report")]
    assert main(Latency, [*places, "--timed-runs", "20", "--processes", "21"]) == 2
    assert "processes is 21, timed_runs is 20: expected a run or more for each" in capsys.readouterr().err


def test_processes_share_the_runs_after_a_cold_start_each(tiny_onnx_model: Path, tiny_dataset: Path) -> None:
    served = serve(tiny_onnx_model, open_dataset(tiny_dataset), "CPUExecutionProvider", 1)
    processes = list(fresh_processes(served, 2, 25, 40))
    assert [len(each.samples_ms) for each in processes] == [13, 12]
    for each in processes:
        assert 0 < each.cold["load_ms"] + each.cold["first_answer_ms"] < each.cold["process_ms"]
        assert each.cold["peak_rss_bytes"] > 0
    both = together(processes)
    assert (both.warm.runs, len(both.samples_ms)) == (sum(each.warm.runs for each in processes), 25)
    assert both.samples_ms.tolist() == [*processes[0].samples_ms, *processes[1].samples_ms]


@pytest.mark.parametrize("flag", ["--concurrency", "--throughput-batches", "--threads-to-try"])
def test_none_at_a_time_is_refused(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["--onnx-model", str(tmp_path), "--dataset", str(tmp_path), "--report", str(tmp_path / "report")]
    assert main(Latency, [*places, flag, "4,0"]) == 2
    assert f"{flag}.1: input should be greater than 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "provider", "package"),
    [
        pytest.param("cuda", CUDA_PROVIDER, "onnxruntime-gpu", marks=absent(CUDA_PROVIDER)),
        pytest.param("openvino", OPENVINO_PROVIDER, "onnxruntime-openvino", marks=absent(OPENVINO_PROVIDER)),
    ],
)
def test_a_provider_that_is_absent_is_refused(
    device: str,
    provider: str,
    package: str,
    tiny_onnx_model: Path,
    tiny_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = latency_argv(tiny_onnx_model, tiny_dataset, tmp_path / "report", "--device", device)
    assert main(Latency, argv) == 2
    message = capsys.readouterr().err
    assert f"--device {device}: this onnxruntime has no {provider} (found: CPUExecutionProvider)" in message
    assert f"Install {package}" in message
    assert not (tmp_path / "report").exists()
    assert choose_provider("auto") == "CPUExecutionProvider"


def _truncate(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _remove(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _other_order_of_classes(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"classes": card["classes"][::-1]}))


def _other_mean(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["preprocessing"]["mean"] = [0.1, 0.2, 0.3]
    (folder / "card.json").write_text(json.dumps(card))


def _no_metadata(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    kept = {prop.key: prop.value for prop in model.metadata_props if prop.key != "provenance"}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, folder / "model.onnx")


def _one_class_more(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"classes": [*card["classes"], "yellow"]}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, "cannot be loaded by onnxruntime"),
        (_remove, "has no model.onnx"),
        (_other_order_of_classes, r"'classes' is \[\"blue\", \"green\", \"red\"\], the card says \[\"red\""),
        (_other_mean, "'preprocessing' is .* the card says"),
        (_no_metadata, "its metadata lack 'provenance'"),
        (_one_class_more, r"output is .*3.*expected .*4"),
    ],
)
def test_a_model_that_is_not_what_its_card_says_is_refused(
    damage: Callable[[Path], None],
    words: str,
    tiny_onnx_model: Path,
    tiny_dataset: Path,
    tmp_path: Path,
    copied: Copy,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copied(tiny_onnx_model)
    damage(folder)
    assert main(Latency, latency_argv(folder, tiny_dataset, tmp_path / "report")) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert re.search(words, message), message
    assert not (tmp_path / "report").exists()
