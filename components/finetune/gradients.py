"""The gradient of one batch's loss, whole or in parts where memory does not hold it at once.

Legend: N images, H height, W width, C channels (of images) or classes (of logits).
"""

import logging

import torch
from torch import Tensor, nn

from components.finetune import mixing
from components.finetune.augment import augmented
from components.finetune.batches import Batch
from components.finetune.devices import Hardware
from components.finetune.state import State
from components.interchange.errors import BadInput, memory_ran_out
from components.interchange.memory import give_back_freed_memory

log = logging.getLogger("graft")
SMALLEST = 2  # Mixing pairs images, and BatchNorm needs more than one.


class Loss(nn.Module):
    """Cross entropy of each image, weighed by class, with label smoothing, and against both labels of a mixed one."""

    def __init__(self, class_weights_C: Tensor, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("class_weights_C", class_weights_C)
        self.label_smoothing = label_smoothing

    def class_weights(self) -> list[float]:
        """The factor of each class's losses."""
        weights: list[float] = self.get_buffer("class_weights_C").tolist()
        return weights

    def forward(self, logits_NC: Tensor, labels_N: Tensor, mixes_N5: Tensor | None) -> Tensor:
        """Losses [N] in nats, fp32."""
        if mixes_N5 is None:
            return self._of(logits_NC, labels_N)
        share_N = mixes_N5[:, mixing.SHARE]
        others_N = labels_N[mixing.partners(len(labels_N), labels_N.device)]
        return share_N * self._of(logits_NC, labels_N) + (1 - share_N) * self._of(logits_NC, others_N)

    def _of(self, logits_NC: Tensor, labels_N: Tensor) -> Tensor:
        weights_C = self.get_buffer("class_weights_C")
        losses_N = nn.functional.cross_entropy(
            logits_NC.float(), labels_N, reduction="none", label_smoothing=self.label_smoothing
        )
        return losses_N * weights_C[labels_N]


def leave_gradients(
    model: nn.Module, loss: Loss, batch: Batch, crop_px: int, state: State, hardware: Hardware
) -> Tensor:
    """Leave the gradient of the whole batch's mean loss in the parameters, in place of what was there; return the loss.

    `model` takes pixels, as PixelsToLogits does, and averages gradients where several processes share the batch.
    Where memory runs out, the images a forward pass are halved for good and the batch is done again, in parts whose
    gradients add up: the optimiser's batch stays. BadInput when even two images are too many.
    """
    while True:
        before = _buffers(model) if state.fits < state.progress.device_batch else {}
        try:
            found = _in_parts(model, loss, batch, crop_px, state, hardware)
        except RuntimeError as error:
            if not memory_ran_out(error):
                raise
            if hardware.world.size > 1:  # The others wait for gradients of as many images as they had.
                raise BadInput(
                    f"memory does not hold {len(batch)} images. Set --device-batch-size lower: batches are halved by "
                    "themselves only where one process trains."
                ) from None
        else:
            state.fits = state.progress.device_batch
            return found
        _halve(state, len(batch))
        if state.replay is not None:
            state.replay.forget()
        for name, buffer in before.items():  # What BatchNorm saw of a batch that came to nothing.
            model.get_buffer(name).copy_(buffer)
        if hardware.device.type == "cuda":
            torch.cuda.empty_cache()
        give_back_freed_memory()


def _in_parts(model: nn.Module, loss: Loss, batch: Batch, crop_px: int, state: State, hardware: Hardware) -> Tensor:
    passes = hardware.world.passes(batch.of, state.progress.device_batch)

    def work(pixels_NHWC: Tensor, labels_N: Tensor, mixes_N5: Tensor | None) -> Tensor:
        with hardware.autocast():
            logits_NC = model(pixels_NHWC)
        losses_N: Tensor = loss(logits_NC, labels_N, mixes_N5)
        part_loss = losses_N.sum() * hardware.world.size / batch.of
        torch.autograd.backward(part_loss)
        return part_loss.detach()

    if state.replay is not None and passes == 1:
        return state.replay(work, *_augmented(batch, crop_px, hardware))
    model.zero_grad(set_to_none=True)
    total = torch.zeros((), device=hardware.device)
    for number, part in enumerate(batch.parts(passes), 1):
        with hardware.world.averaging(model, last=number == passes):
            total += work(*_augmented(part, crop_px, hardware))
    return hardware.world.mean(total)


def _augmented(batch: Batch, crop_px: int, hardware: Hardware) -> tuple[Tensor, Tensor, Tensor | None]:
    """Pixels, labels and mixes on the device. In full precision: in bf16 a warp misses its place by pixels."""
    batch = batch.to(hardware.device)
    return augmented(batch.pixels_NHWC, batch.draws, crop_px), batch.labels_N, batch.draws.mixes_N5


def _halve(state: State, num_images: int) -> None:
    tried = min(state.progress.device_batch, num_images)
    if tried <= SMALLEST:
        raise BadInput(f"memory does not hold {tried} images. Take a smaller --input-size-px or backbone.")
    half = (tried + 1) // 2
    state.progress.device_batch = half + half % 2
    log.warning("out_of_memory device_batch=%d -> %d", tried, state.progress.device_batch)


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}
