"""One epoch of training: a step a batch, under the schedule's factor."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from components.finetune.batches import Batch, epoch_batches, prefetched
from components.finetune.budget import share_done
from components.finetune.devices import Hardware
from components.finetune.gradients import Loss, leave_gradients
from components.finetune.plan import Plan
from components.finetune.resident import ResidentImages
from components.finetune.sampling import balanced_order, batches_an_epoch, epoch_order, model_seed
from components.finetune.schedule import warmup_cosine
from components.finetune.state import Progress, State
from components.interchange.dataset import Split
from components.interchange.progress import progress

STEPS_UNSEEN = 16  # Reading a loss from a GPU waits for it, so several are read at once.


def train_epoch(
    model: nn.Module,
    loss: Loss,
    state: State,
    train: Split,
    plan: Plan,
    hardware: Hardware,
    resident: ResidentImages | None,
    pause: Callable[[], None],
) -> float | None:
    """Take the steps of the epoch that are left, as long as there is time, and return the images a second; None where
    no step was left, as after a restart behind the last one.

    BadInput when the loss is no finite number: on the CPU before it reaches the weights, on a GPU some steps later.
    """
    at, steps = state.progress, batches_an_epoch(len(train), plan.batch_size)
    started, images = time.perf_counter(), 0
    drawn = batches_of(train, plan, at, hardware, resident)
    label = f"epoch {at.epoch}/{plan.num_epochs}"
    for batch in progress(drawn, label, total=steps - at.batch, unit=" batches"):
        if at.batch > 0 and out_of_time(state, plan):
            break
        pause()
        torch.manual_seed(model_seed(plan.seed, at.epoch, at.batch, hardware.world.rank))
        value = leave_gradients(model, loss, batch, plan.augmentation.crop_px, state, hardware)
        state.note_loss(value, [train.ids[row] for row in batch.rows_N])
        if hardware.device.type == "cpu" or len(state.unseen) >= STEPS_UNSEEN:
            state.see_losses()
        take_step(state, plan, _factor(state, plan, steps))
        state.agree_on_time(hardware.world)
        images += batch.of
    state.see_losses()
    return images / (time.perf_counter() - started) if images else None


def batches_of(
    train: Split, plan: Plan, at: Progress, hardware: Hardware, resident: ResidentImages | None
) -> Iterator[Batch]:
    """The batches of the epoch that are left, each made while the one before is in use."""
    order = (
        balanced_order(train.labels_N, plan.seed, at.epoch)
        if plan.balanced_sampling
        else epoch_order(len(train), plan.seed, at.epoch)
    )
    drawn = epoch_batches(
        train, order, plan.batch_size, plan.augmentation, plan.seed, at.epoch, at.batch, hardware.world, resident
    )
    if hardware.device.type == "cuda":
        drawn = (batch.pinned() for batch in drawn)
    return prefetched(drawn)


def take_step(state: State, plan: Plan, factor: float) -> None:
    """Clip the gradients, step at `factor` times the peak rates, and average."""
    if plan.clip_norm is not None:
        trainable = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
        torch.nn.utils.clip_grad_norm_(trainable, plan.clip_norm)
    for group in state.optimizer.param_groups:
        group["lr"] = factor * group["peak_lr"]
    state.optimizer.step()
    if state.average is not None:
        state.average.update_parameters(state.model)
    state.progress.steps += 1
    state.progress.batch += 1
    state.tick()


def out_of_time(state: State, plan: Plan) -> bool:
    """Whether the budget of time is used up, but for one more validation."""
    return plan.limit_s is not None and _share(state, plan, 0, 1) >= 1


def _share(state: State, plan: Plan, step: int, num_steps: int) -> float:
    return share_done(step, num_steps, state.progress.elapsed_s, plan.limit_s, state.progress.validation_s)


def _factor(state: State, plan: Plan, steps: int) -> float:
    """The schedule's factor for the step at hand."""
    num_steps = plan.num_epochs * steps
    warmup_steps = min(round(plan.warmup_fraction * num_steps), num_steps - 1)
    done = _share(state, plan, (state.progress.epoch - 1) * steps + state.progress.batch, num_steps)
    return warmup_cosine(done * num_steps, num_steps, warmup_steps)
