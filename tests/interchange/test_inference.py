"""Forward passes: in order and in parts, halved for good where memory runs out, or refused in words."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from components.feature_extraction.spec import FeatureExtraction
from components.finetune.spec import Finetune
from components.interchange import classifier
from components.interchange.cli import main
from components.interchange.errors import BadInput
from components.interchange.inference import choose_device, forward, predict_logits
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import read_report

NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@contextmanager
def room_for(limit: int, *, error: RuntimeError = NO_MEMORY, scoring_only: bool = False) -> Iterator[None]:
    """Convolutions on a machine whose memory holds `limit` images at once."""

    def see(module: nn.Module, inputs: tuple[Any, ...], _: Tensor) -> None:
        training = module.training or not torch.is_inference_mode_enabled()
        if isinstance(module, nn.Conv2d) and len(inputs[0]) > limit and not (scoring_only and training):
            raise error

    hook = nn.modules.module.register_module_forward_hook(see)
    try:
        yield
    finally:
        hook.remove()


def logits_of(folder: Path) -> np.ndarray[Any, Any]:
    model, card = classifier.load(folder)
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (13, 32, 32, 3), dtype=np.uint8)
    return predict_logits(PixelsToLogits(model, card.preprocessing), [pixels_NHWC], torch.device("cpu"))


@pytest.mark.parametrize("limit", [7, 3, 1])
def test_answers_stay_the_same_where_memory_holds_fewer_images(
    tiny_classifier: Path, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    expected_NC = logits_of(tiny_classifier)
    with room_for(limit):
        found_NC = logits_of(tiny_classifier)
    np.testing.assert_allclose(found_NC, expected_NC, atol=1e-5)
    assert caplog.messages[0] == "out_of_memory batch=8 -> 4"
    assert sorted(set(caplog.messages)) == sorted(caplog.messages)  # Each once, whatever the threads.


def test_one_image_that_does_not_fit_is_said_and_other_errors_are_others(tiny_classifier: Path) -> None:
    with room_for(0), pytest.raises(BadInput, match="memory does not hold one image"):
        logits_of(tiny_classifier)
    with room_for(0, error=RuntimeError("shapes differ")), pytest.raises(RuntimeError, match="shapes differ"):
        logits_of(tiny_classifier)


def argv(dataset: Path, weights: Path, out: Path) -> list[str]:
    return [
        *("--dataset", str(dataset), "--classifier", str(out / "c"), "--report", str(out / "r")),
        *("--backbone", "test_resnet", "--weights", str(weights), "--input-size-px", "32", "--device", "cpu"),
    ]


@pytest.mark.parametrize(("spec", "more"), [(FeatureExtraction, []), (Finetune, ["--num-epochs", "1"])])
def test_baseline_and_validation_survive_a_lack_of_memory(
    spec: type[FeatureExtraction | Finetune],
    more: list[str],
    tiny_dataset: Path,
    tiny_weights: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    scores = []
    for name, limit in (("roomy", 1000), ("narrow", 3)):
        with room_for(limit, scoring_only=True):
            assert main(spec, [*argv(tiny_dataset, tiny_weights, tmp_path / name), *more]) == 0
        rows = {(row.name, row.split): row.value for row in read_report(tmp_path / name / "r").rows}
        scores.append((rows["top1", "val"], rows["nll", "val"]))
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)
    assert "out_of_memory batch=8 -> 4" in caplog.messages and "out_of_memory batch=4 -> 2" in caplog.messages


def test_an_optimiser_that_memory_does_not_hold_ends_in_words_and_nothing_is_written(
    tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def see(*_: object) -> None:
        raise NO_MEMORY

    hook = register_optimizer_step_pre_hook(see)
    try:
        assert main(Finetune, argv(tiny_dataset, tiny_weights, tmp_path)) == 2
    finally:
        hook.remove()
    said = capsys.readouterr().err
    assert "finetune: memory ran out (CUDA out of memory. Tried to allocate 2.00 GiB.)" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_come_back_in_order_each_from_one_thread(threads: int) -> None:
    before, used, at_once = torch.get_num_threads(), set(), threading.Barrier(threads)

    def first_pixel(part_NHWC: torch.Tensor) -> torch.Tensor:
        used.add((threading.get_ident(), torch.get_num_threads(), torch.is_inference_mode_enabled()))
        if part_NHWC[0, 0, 0, 0] < 8 * threads:
            at_once.wait(30)
        return part_NHWC[:, 0, 0, 0]

    batches_NHWC = np.arange(200, dtype=np.uint8).reshape(5, 40, 1, 1, 1)
    torch.set_num_threads(threads)
    try:
        found = forward(first_pixel, batches_NHWC, torch.device("cpu"))
        with pytest.raises(ZeroDivisionError):
            forward(lambda part_NHWC: part_NHWC * (1 // (len(part_NHWC) - 8)), batches_NHWC, torch.device("cpu"))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.cat(found).tolist() == list(range(200))
    assert [len(part) for part in found] == [8] * 25
    assert len(used) == threads and {one[1:] for one in used} == {(1, True)}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_is_refused() -> None:
    assert choose_device("auto").type == "cpu"
    with pytest.raises(BadInput, match="torch sees no CUDA device here"):
        choose_device("cuda")
