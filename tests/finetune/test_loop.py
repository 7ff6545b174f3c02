"""The loop's rules: batches in parts, memory that runs out, averages, budgets of time, unequal classes, unfreezing."""

import dataclasses
import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from components.finetune.augment import Augmentation, augmented
from components.finetune.batches import Batch, epoch_batches
from components.finetune.budget import share_done
from components.finetune.checkpoint import Checkpoints
from components.finetune.devices import Hardware
from components.finetune.ema import moving_average
from components.finetune.fit import Fitted, fit, thaw
from components.finetune.freezing import freeze_at, freeze_stages
from components.finetune.gradients import Loss, leave_gradients
from components.finetune.imbalance import balancing_weights
from components.finetune.param_groups import ParamGroup, stage_groups, stages_of
from components.finetune.plan import Plan
from components.finetune.state import Progress, State, optimizer_over
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(
    resize_short_px=40, interpolation="bicubic", crop_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
CPU = Hardware(torch.device("cpu"), "fp32")
PLAN = Plan(
    num_epochs=3,
    patience=3,
    batch_size=6,
    device_batch_size=None,
    limit_s=None,
    warmup_fraction=0.1,
    balanced_sampling=False,
    augmentation=Augmentation(crop_px=32, window_px=40),
    ema_decay=0.0,
    clip_norm=None,
    freeze="none",
    unfreeze_at=(),
    frozen_batchnorm="frozen",
    compile_model=False,
    seed=0,
)


# In the words of torch's allocators, of CUDA itself, and of its libraries, which ask for memory of their own.
NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    RuntimeError("could not create a primitive"),
)


class Limited(nn.Module):
    """A real layer on a device that holds `limit` images at once."""

    def __init__(self, limit: int, error: RuntimeError = NO_MEMORY[0]) -> None:
        super().__init__()
        self.norm, self.layer, self.limit = nn.BatchNorm1d(3, affine=False), nn.Linear(3, 3), limit
        self.error = error

    def forward(self, images_NCHW: Tensor) -> Tensor:
        means_NC = self.norm(images_NCHW.mean((2, 3)))
        if len(images_NCHW) > self.limit:
            raise self.error
        return self.layer(means_NC)


def model(name: str = "test_vit") -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=3, **({"img_size": 32} if name == "test_vit" else {}))


def state_of(module: nn.Module, device_batch: int) -> State:
    groups = [{"name": "all", "params": list(module.parameters()), "lr": 1e-3, "weight_decay": 0.0}]
    return State(module, optimizer_over(groups), Progress(device_batch=device_batch))


def batch_of(dataset: Path, size: int = 8, augmentation: Augmentation = PLAN.augmentation) -> Batch:
    train = open_dataset(dataset).split("train")
    return next(epoch_batches(train, np.arange(len(train)), size, augmentation, seed=0, epoch=1))


def gradient(module: nn.Module, batch: Batch, device_batch: int, loss: Loss | None = None) -> tuple[float, Tensor]:
    state = state_of(module, device_batch)
    chosen = loss or Loss(torch.ones(3), 0.0)
    value = leave_gradients(PixelsToLogits(module, PREPROCESSING), chosen, batch, 32, state, CPU)
    return value.item(), torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


@pytest.mark.parametrize(("mixup", "most"), [(0.0, 2), (0.4, 2), (0.4, 3), (0.4, 7)])
def test_parts_of_a_batch_add_up_to_its_gradient(tiny_dataset: Path, mixup: float, most: int) -> None:
    batch = batch_of(tiny_dataset, 10, dataclasses.replace(PLAN.augmentation, mixup_alpha=mixup))
    whole, parts = gradient(model(), batch, 10), gradient(model(), batch, most)
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-3, atol=1e-5)


class Seeing(nn.Module):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(3, 3), torch.empty(0)

    def forward(self, pixels_NHWC: Tensor) -> Tensor:
        self.seen = pixels_NHWC
        return self.layer(pixels_NHWC.mean((1, 2)))


def test_images_are_warped_in_full_precision(tiny_dataset: Path) -> None:
    warping = dataclasses.replace(PLAN.augmentation, crop="resized", policy="geometric")
    batch, module = batch_of(tiny_dataset, 8, warping), Seeing()
    bf16 = Hardware(torch.device("cpu"), "bf16")
    leave_gradients(module, Loss(torch.ones(3), 0.0), batch, 32, state_of(module, 8), bf16)
    assert torch.equal(module.seen, augmented(batch.pixels_NHWC, batch.draws, 32))


def test_the_mean_loss_is_torchs_own(tiny_dataset: Path) -> None:
    batch, module = batch_of(tiny_dataset), model()
    logits = PixelsToLogits(module, PREPROCESSING)(batch.pixels_NHWC)
    expected = nn.functional.cross_entropy(logits, batch.labels_N, label_smoothing=0.1)
    unmirrored = dataclasses.replace(batch, draws=batch.draws._replace(horizontal_N=torch.zeros(8, dtype=torch.bool)))
    assert gradient(module, unmirrored, 8, Loss(torch.ones(3), 0.1))[0] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_memory_that_runs_out_halves_the_parts_and_not_the_batch(
    tiny_dataset: Path, caplog: pytest.LogCaptureFixture, error: RuntimeError
) -> None:
    limited, batch = Limited(limit=3, error=error), batch_of(tiny_dataset, 8)
    state = state_of(limited, 8)
    leave_gradients(PixelsToLogits(limited, PREPROCESSING), Loss(torch.ones(3), 0.0), batch, 32, state, CPU)
    assert (state.progress.device_batch, state.fits) == (2, 2)
    assert "out_of_memory device_batch=8 -> 4" in caplog.text and "4 -> 2" in caplog.text
    assert int(limited.norm.num_batches_tracked or 0) == 4  # The four parts, and not what came to nothing.
    assert limited.layer.weight.grad is not None
    roomy = Limited(limit=8)
    roomy.load_state_dict(limited.state_dict())
    gradient(roomy, batch, 2)
    assert roomy.layer.weight.grad is not None
    torch.testing.assert_close(limited.layer.weight.grad, roomy.layer.weight.grad)


def test_two_images_that_do_not_fit_are_said(tiny_dataset: Path) -> None:
    with pytest.raises(BadInput, match="memory does not hold 2 images"):
        gradient(Limited(limit=1), batch_of(tiny_dataset, 8), 8)


def test_a_loss_that_is_no_number_tells_what_its_checkpoint_is_good_for(monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of(Limited(limit=1), 8)
    state.saved = lambda: "s3://bucket/checkpoint.safetensors"
    state.note_loss(torch.tensor(float("nan")), ["one.jpg"])
    state.progress.steps = state.progress.batch = 1
    with pytest.raises(
        BadInput, match=r"s3://bucket/checkpoint\.safetensors\. Other rates .* another --checkpoint-uri"
    ):
        state.see_losses()
    monkeypatch.setenv("RANK", "1")
    state.saved = str  # As in a process that writes none.
    state.note_loss(torch.tensor(float("nan")), ["two.jpg"])
    with pytest.raises(BadInput, match=r"on the images two\.jpg\.$"):
        state.see_losses()


def test_a_checkpoint_that_was_not_written_is_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state, there = state_of(model("test_resnet"), 8), Checkpoints(str(tmp_path / "there"), 60.0, {})
    there.save(state)
    assert state.saved().endswith("there/training.safetensors (epoch 1, batch 0)")
    (tmp_path / "loop").symlink_to("loop")
    for place in (__file__, tmp_path / "loop"):  # A refusal that blobs know, and one that they do not.
        caplog.clear()
        Checkpoints(str(place), 60.0, {}).save(state)
        assert state.saved() == ""
        assert "checkpoint not written" in caplog.text


def test_other_errors_of_torch_are_not_taken_for_a_lack_of_memory(tiny_dataset: Path) -> None:
    with pytest.raises(RuntimeError, match="shape"):
        gradient(nn.Sequential(nn.Flatten(), nn.Linear(5, 3)), batch_of(tiny_dataset, 8), 8)


def test_class_weights_give_every_class_its_share_and_keep_the_mean() -> None:
    labels_N = np.array([0] * 6 + [1] * 3 + [2])
    weights_C = balancing_weights(labels_N, 4)
    assert np.bincount(labels_N, weights_C[labels_N]) == pytest.approx([10 / 3] * 3)
    assert weights_C[labels_N].mean() == pytest.approx(1.0)
    assert weights_C[3] == weights_C[2]


def test_the_average_rises_with_its_number_and_copies_buffers() -> None:
    module = model("test_resnet")
    average = moving_average(module, 0.9)
    assert average is not None
    expected = None
    for n in range(4):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1.0)
        module.get_buffer("bn1.running_mean").add_(1.0)
        average.update_parameters(module)
        now = module.get_parameter("fc.bias").detach().clone()
        expected = now if expected is None else expected + (1 - min(0.9, (1 + n) / (10 + n))) * (now - expected)
    torch.testing.assert_close(average.module.get_parameter("fc.bias"), expected)
    assert torch.equal(average.module.get_buffer("bn1.running_mean"), module.get_buffer("bn1.running_mean"))
    assert moving_average(module, 0.0) is None


def test_time_counts_where_it_runs_out_first() -> None:
    assert share_done(5, 20, 100.0, None) == 0.25
    assert share_done(5, 20, 10.0, 100.0) == 0.25
    assert share_done(5, 20, 60.0, 100.0) == 0.6
    assert share_done(5, 20, 60.0, 100.0, reserve_s=40.0) == 1.0


def fitted(
    dataset: Path, plan: Plan, name: str = "test_resnet", lr: float = 1e-3, hardware: Hardware = CPU,
    checkpoints: Checkpoints | None = None,
) -> tuple[nn.Module, Fitted]:  # fmt: skip
    data, module = open_dataset(dataset), model(name)

    def groups() -> list[ParamGroup]:
        return stage_groups(module, lr, (1.0, 1.0, 1.0, 10.0), 0.0)

    found = fit(
        PixelsToLogits(module, PREPROCESSING),
        groups,
        Loss(torch.ones(3), 0.0),
        data.split("train"),
        data.split("val"),
        plan,
        hardware,
        checkpoints,
    )
    return module, found


def test_a_budget_of_time_ends_the_training_with_the_rate_at_zero(
    tiny_dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graft")
    _, short = fitted(tiny_dataset, dataclasses.replace(PLAN, num_epochs=2))
    limit_s = max(1.0, 4 * sum(short.seconds))  # A busy machine needs longer to get anywhere.
    _, found = fitted(tiny_dataset, dataclasses.replace(PLAN, num_epochs=1000, patience=1000, limit_s=limit_s))
    assert len(found.history) < 1000
    assert f"time_up=epoch {len(found.history)} of 1000" in caplog.text
    (rates, *_), peak = found.rates.values(), 1e-3
    assert max(rates) > 0.5 * peak and rates[-1] < 0.1 * peak
    tail = rates[len(rates) // 2 :]  # By the clock: what an epoch's end takes is guessed anew each time.
    assert all(after <= before + 0.05 * peak for before, after in pairwise(tail))


def test_each_epoch_of_unfreeze_at_frees_one_stage_more(tiny_dataset: Path) -> None:
    assert [freeze_at("late", (2, 4), epoch) for epoch in range(1, 6)] == ["late", "middle", "middle", "early", "early"]
    plan = dataclasses.replace(PLAN, freeze="late", unfreeze_at=(2, 3), patience=9)
    module, found = fitted(tiny_dataset, plan)
    stages = [{name.split("/")[0] for name in record["lr"]} for record in found.history]
    assert stages == [{"head"}, {"head", "late"}, {"head", "late", "middle"}]
    pretrained = model("test_resnet").state_dict()
    of = stages_of(module)
    moved = {of[name] for name, tensor in module.state_dict().items() if not tensor.equal(pretrained[name])}
    assert moved == {"middle", "late", "head"}


def test_patience_begins_anew_with_the_last_unfreezing(tiny_dataset: Path) -> None:
    plan = dataclasses.replace(PLAN, num_epochs=9, freeze="late", unfreeze_at=(4,), patience=2)
    _, found = fitted(tiny_dataset, plan, lr=1e-12)  # No epoch is better than the first.
    assert found.best_epoch == 1 and len(found.history) == 5
    assert any(name.startswith("late") for name in found.rates)


def test_memory_that_runs_out_after_unfreezing_leaves_batchnorm_as_it_was(tiny_dataset: Path) -> None:
    class Growing(nn.Module):
        """A backbone on a device with room for all images while its last stage is frozen, and for four later on."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, pixels_NHWC: Tensor) -> Tensor:
            logits_NC = self.inner(pixels_NHWC)
            if module.get_parameter("layer4.0.conv1.weight").requires_grad and len(pixels_NHWC) > 4:
                raise NO_MEMORY[0]
            return logits_NC

    module, batch = model("test_resnet"), batch_of(tiny_dataset, 8)
    pixels_to_logits = Growing(PixelsToLogits(module, PREPROCESSING))

    def groups() -> list[ParamGroup]:
        return stage_groups(module, 1e-3, (1.0, 1.0, 1.0, 10.0), 0.0)

    freeze_stages(module, stages_of(module), "late")
    state = State(module, optimizer_over(groups()), Progress(device_batch=8))
    leave_gradients(pixels_to_logits, Loss(torch.ones(3), 0.0), batch, 32, state, CPU)
    thaw(state, groups, dataclasses.replace(PLAN, freeze="late", unfreeze_at=(1,)))
    leave_gradients(pixels_to_logits, Loss(torch.ones(3), 0.0), batch, 32, state, CPU)
    assert state.progress.device_batch == 4
    assert int(module.get_buffer("bn1.num_batches_tracked")) == 3  # A whole batch and two halves.


def restarted(dataset: Path, place: Path, plan: Plan, progress: Progress) -> Fitted:
    """A training that goes on from a checkpoint with this progress."""
    state = state_of(model("test_resnet"), progress.device_batch)
    state.progress, state.best = progress, {name: one.clone() for name, one in state.model.state_dict().items()}
    saved = Checkpoints(str(place), 60.0, {})
    saved.save(state)
    saved.finish()
    return fitted(dataset, plan, checkpoints=Checkpoints(str(place), 60.0, {}))[1]


def test_an_epoch_that_goes_on_behind_its_last_step_claims_no_pace(
    tiny_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "graft")
    at = Progress(device_batch=6, batch=10, steps=10, losses=[1.0] * 10)
    found = restarted(tiny_dataset, tmp_path, dataclasses.replace(PLAN, num_epochs=2), at)
    first, second = found.images_per_s
    assert first is None and second is not None and second > 0
    told = [line for line in caplog.messages if line.startswith("epoch=")]
    assert ["images_per_s" in line for line in told] == [False, True]


def test_an_epoch_that_time_cut_short_is_scored_after_a_restart(tiny_dataset: Path, tmp_path: Path) -> None:
    before = {"epoch": 1, "train_loss": 2.0, "val_top1": 0.0, "val_nll": 9.0, "lr": {}}
    at = Progress(device_batch=6, epoch=2, batch=3, steps=13, losses=[1.0] * 3, history=[before], best_epoch=1)
    at.elapsed_s, at.seconds, at.images_per_s = 70.0, [50.0], [9.0]
    found = restarted(tiny_dataset, tmp_path, dataclasses.replace(PLAN, num_epochs=9, limit_s=60.0), at)
    assert [record["epoch"] for record in found.history] == [1, 2]
    assert found.history[1]["train_loss"] == 1.0 and not found.rates  # Without another step.


def test_a_clipped_gradient_is_no_longer_than_asked(tiny_dataset: Path) -> None:
    module, _ = fitted(tiny_dataset, dataclasses.replace(PLAN, clip_norm=1e-3, num_epochs=1))
    norms = torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None])
    assert norms.norm() <= 1.001e-3


def test_the_average_is_what_is_kept(tiny_dataset: Path) -> None:
    module, found = fitted(tiny_dataset, dataclasses.replace(PLAN, ema_decay=0.9, num_epochs=1))
    assert not found.best_state["fc.weight"].equal(module.get_parameter("fc.weight"))
