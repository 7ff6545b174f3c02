"""Several processes that share a batch, images in a device's memory, and devices that are not there."""

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from components.finetune.activations import out_of_place
from components.finetune.augment import windows
from components.finetune.devices import choose_precision, own_gpu
from components.finetune.resident import ResidentImages
from components.finetune.slow_kernels import OtherGradients
from components.finetune.spec import Finetune
from components.interchange.cli import main
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput

Sizes = int | tuple[int, int]


def test_windows_of_resident_images_are_those_of_the_files(tiny_dataset: Path) -> None:
    train = open_dataset(tiny_dataset).split("train")
    rows_N, places_N2 = np.array([3, 0, 59]), torch.tensor([[0.0, 0.0], [0.5, 0.7], [0.99, 0.999]], dtype=torch.float64)
    found = ResidentImages(train, torch.device("cpu")).windows(rows_N, 32, places_N2)
    np.testing.assert_array_equal(found.numpy(), windows([train.images[row] for row in rows_N], 32, places_N2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(BadInput, match="process 1 of this machine has no GPU of its own: torch sees 0"):
        own_gpu()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_asked_for_and_absent_is_refused(
    tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--dataset", str(tiny_dataset), "--classifier", str(tmp_path / "c"), "--report", str(tmp_path / "r")]
    assert main(Finetune, [*argv, "--device", "cuda"]) == 2
    assert "--device cuda: torch sees no CUDA device here" in capsys.readouterr().err


def test_bf16_is_taken_where_the_cpu_multiplies_it() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").is_file() else set()
    native = bool(flags & {"avx512_bf16", "amx_bf16"})
    assert choose_precision(torch.device("cpu")) == ("bf16" if native else "fp32")


def test_compiling_without_a_compiler_is_refused(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    argv = ["--dataset", str(tiny_dataset), "--classifier", str(tmp_path / "c"), "--report", str(tmp_path / "r")]
    assert main(Finetune, [*argv, "--device", "cpu", "--compile-model", "true"]) == 2
    assert "there is no g++ here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("channels", "groups", "stride", "kernel", "padding", "size"),
    [
        (3, 1, 2, 3, 1, 12),
        (3, 1, (2, 3), 1, 0, 12),
        (8, 4, 1, 5, 2, 12),
        (8, 8, 1, 3, 1, 12),
        (8, 8, 2, 3, 1, 12),
        (8, 8, 1, 5, 2, 12),
        (8, 8, 2, 5, 2, 12),
        (8, 8, 2, 4, 0, 12),
        (8, 8, 2, 1, 0, 12),
        (8, 8, (3, 2), 3, (2, 0), 12),
        (8, 8, 4, 3, 1, 12),
        (8, 8, 1, (1, 7), (0, 3), 12),
        *((8, 8, 1, 7, 3, size) for size in (1, 2, 3, 4)),
    ],
)
def test_slow_gradients_are_taken_another_way(
    channels: int,
    groups: int,
    stride: int | tuple[int, int],
    kernel: int | tuple[int, int],
    padding: int | tuple[int, int],
    size: int,
) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(channels, 8, kernel, stride, padding, groups=groups)
    images_NCHW = torch.randn(2, channels, size, size, requires_grad=True)

    def gradients(*contexts: AbstractContextManager[object]) -> list[torch.Tensor]:
        with ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            found = conv(images_NCHW)
        weights = torch.linspace(-1, 1, found.numel()).view_as(found)
        return list(torch.autograd.grad((found.float() * weights).sum(), [images_NCHW, *conv.parameters()]))

    exact = gradients()
    autocast = torch.autocast("cpu", torch.bfloat16)
    for found, expected in zip(gradients(autocast, OtherGradients(bf16=True)), exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=0.1)
    for found, expected in zip(gradients(OtherGradients(bf16=True)), exact, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_gradient_that_would_end_the_process_is_taken_another_way(bf16: bool) -> None:
    """As FastViT begins: oneDNN writes beyond its memory for one tap with a stride and few channels, channels-last."""
    torch.manual_seed(0)
    conv, images_NCHW = torch.nn.Conv2d(3, 16, 1, stride=2, bias=False), torch.randn(8, 3, 64, 64)
    [expected] = torch.autograd.grad(conv(images_NCHW).square().mean(), conv.weight)
    with OtherGradients(bf16):
        found = conv.to(memory_format=torch.channels_last)(images_NCHW.to(memory_format=torch.channels_last))
    [gradient] = torch.autograd.grad(found.square().mean(), conv.weight)
    torch.testing.assert_close(gradient, expected)


def test_activations_copy_no_input_and_give_the_same() -> None:
    torch.manual_seed(0)
    kinds = [torch.nn.ReLU6, torch.nn.SiLU, torch.nn.Hardswish, torch.nn.ReLU]
    model = torch.nn.Sequential(*(kind(inplace=True) for kind in kinds))
    images_NCHW = torch.randn(2, 3, 4, 4, requires_grad=True)

    def gradient_and_copies() -> tuple[torch.Tensor, int]:
        with torch.profiler.profile() as seen:
            [found] = torch.autograd.grad(model(images_NCHW * 8).square().sum(), images_NCHW)
        return found, sum(event.count for event in seen.key_averages() if event.key == "aten::clone")

    expected, copies = gradient_and_copies()
    assert copies == 3
    out_of_place(model)
    found, copies = gradient_and_copies()
    assert copies == 0 and torch.equal(found, expected)
