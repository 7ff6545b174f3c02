"""Recorded steps on a GPU: the same bits as ordinary ones. Skipped where there is none."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from components.finetune import fit as fitting
from components.finetune.replay import Replay
from components.finetune.spec import Finetune
from components.interchange.classifier import WEIGHTS_FILE
from components.interchange.cli import main

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--freeze", "early", "--unfreeze-at", "3", "--frozen-batchnorm", "adapt", "--clip-norm", "1"),
        ("--augment", "randaugment", "--crop", "resized", "--mixup", "0.2", "--ema-decay", "0.9"),
        ("--class-weights", "balanced", "--cutmix", "0.5", "--label-smoothing", "0.1"),
    ],
    ids=["plain", "unfreezing", "augmented", "weighed"],
)
def test_recorded_steps_train_the_model_that_ordinary_ones_do(
    tiny_dataset: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    def trained(name: str) -> bytes:
        argv = ["--dataset", str(tiny_dataset), "--device", "cuda", "--backbone", "test_resnet", "--input-size-px"]
        argv += ["32", "--weights", str(tiny_weights), "--batch-size", "6", "--num-epochs", "4", *more]
        argv += ["--classifier", str(tmp_path / name), "--report", str(tmp_path / f"{name} report")]
        assert main(Finetune, argv) == 0
        return (tmp_path / name / WEIGHTS_FILE).read_bytes()

    recorded = trained("recorded")
    monkeypatch.setattr(fitting, "replay_of", lambda *_: None)
    assert trained("ordinary") == recorded


class Awkward(nn.Module):
    """A layer with dropout which, by `how`, asks the GPU for a value, or wants more memory while it is recorded than
    there is.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer, self.dropout, self.how = nn.Linear(4, 3), nn.Dropout(0.5), how

    def forward(self, rows_N4: Tensor) -> Tensor:
        if self.how == "asks" and float(rows_N4.sum()) < 0:
            return self.layer(-rows_N4)
        if self.how == "wants memory" and torch.cuda.is_current_stream_capturing():
            return torch.empty(2**42, device="cuda")
        return self.dropout(self.layer(rows_N4))


def passes(model: Awkward, replay: Replay | None) -> tuple[list[float], list[Tensor]]:
    """Values and gradients of six passes over batches of four images, the last two of five."""

    def work(rows_N4: Tensor) -> Tensor:
        value = model(rows_N4).square().mean()
        value.backward()
        return value.detach()

    values, gradients = [], []
    for step in range(6):
        torch.manual_seed(step)
        rows_N4 = torch.rand(4 + step // 4, 4, device="cuda")
        if replay is None:
            model.zero_grad()
        values.append(float(work(rows_N4) if replay is None else replay(work, rows_N4)))
        gradient = model.layer.weight.grad
        assert gradient is not None
        gradients.append(gradient.clone())
    return values, gradients


@pytest.mark.parametrize("how", ["plain", "asks", "wants memory"])
def test_values_gradients_and_dropout_are_those_of_ordinary_passes(how: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = Awkward(how).to("cuda")
    expected_values, expected = passes(model, None)
    replay = Replay(model)
    values, gradients = passes(model, replay)
    assert values == expected_values
    assert all(torch.equal(one, other) for one, other in zip(gradients, expected, strict=True))
    off = caplog.text.count("replay=off")
    assert (replay.recorded is not None, off) == ((True, 0) if how == "plain" else (False, 1))


def test_a_recording_gives_its_memory_back_when_it_holds_no_more() -> None:
    """It would stand beside the ordinary pass that comes before the next one, which may need all memory there is."""
    model = nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1)).to("cuda")
    replay, rows = Replay(model), torch.rand(4096, 4096, device="cuda")

    def work(rows: Tensor) -> Tensor:
        value = model(rows).square().mean()
        value.backward()
        return value.detach()

    def reserved() -> int:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    for _ in range(2):
        replay(work, rows)
    held = reserved()
    assert replay.recorded is not None
    model[0].requires_grad_(False)
    replay(work, rows)
    assert replay.recorded is None
    model.zero_grad(set_to_none=True)
    assert reserved() <= held - 2 * rows.nbytes  # Of the activations.
