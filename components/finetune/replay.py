"""A pass over a whole batch on a GPU as one CUDA graph: recorded once, and launched whole from then on.

Python launches the kernels of a small network one by one more slowly than a GPU runs them: a step of ResNet18 on 128
images took 16.4 ms on an H100 whose kernels took 12.2. The same kernels on the same numbers give the same bits.
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from components.finetune.devices import Hardware
from components.interchange.errors import memory_ran_out

log = logging.getLogger("graft")
WAITS = "called a synchronizing CUDA operation"  # torch's warning.
Inputs = tuple[Tensor | None, ...]


class Replay:
    """Passes of one model. What is recorded holds for inputs of one shape and one set of trainable parameters; after
    a change of either the next pass is an ordinary one, which warms up the libraries, and the one after it is recorded.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._failed = model, False
        self._warm: tuple[Any, ...] | None = None
        self.recorded: tuple[Any, ...] | None = None

    def __call__(self, work: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        """The scalar that `work` makes of the inputs, leaving gradients in the parameters, whatever was there.

        A pass that asks the GPU for a value cannot be recorded, nor one that memory does not hold besides: then all
        passes are ordinary ones, which the log says.
        """
        of = (self._trainable(), *(None if one is None else (one.shape, one.dtype) for one in inputs))
        if of == self._warm and of != self.recorded and not self._failed:
            self.recorded = of if self._record(work, inputs) else None
        if of == self.recorded:
            return self._replayed(inputs)
        self._model.zero_grad(set_to_none=True)
        if of == self._warm:
            return work(*inputs)
        self._warm = of
        return self._warmed_up(work, inputs)

    def _warmed_up(self, work: Callable[..., Tensor], inputs: Inputs) -> Tensor:
        """An ordinary pass that looks whether it can be recorded: to try and fail would leave torch's random numbers
        unusable.
        """
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                value = work(*inputs)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        if any(WAITS in str(one.message) for one in said):
            self._off("the model waits for values from the GPU")
        return value

    def _off(self, why: str) -> None:
        if not self._failed:
            log.warning("replay=off: a step cannot be recorded (%s)", why)
        self._failed = True

    def _trainable(self) -> tuple[bool, ...]:
        return tuple(parameter.requires_grad for parameter in self._model.parameters())

    def _record(self, work: Callable[..., Tensor], inputs: Inputs) -> bool:
        graph, own = torch.cuda.CUDAGraph(), tuple(one if one is None else one.clone() for one in inputs)
        self._model.zero_grad(set_to_none=True)
        try:
            # Of this thread alone: another one brings the next batch to the GPU meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                value = work(*own)
        except RuntimeError as error:
            if not memory_ran_out(error):
                raise
            self._off("memory does not hold it")
            return False
        self._graph, self._inputs, self._value = graph, own, value
        self._gradients = [(parameter, parameter.grad) for parameter in self._model.parameters()]
        return True

    def _replayed(self, inputs: Inputs) -> Tensor:
        for own, given in zip(self._inputs, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given)
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        self._graph.replay()
        return self._value.clone()


def replay_of(model: nn.Module, hardware: Hardware, compiled: bool) -> Replay | None:
    """A Replay where there is something to gain: on a GPU that no other process shares gradients with. torch.compile
    has its own launches.
    """
    alone = hardware.device.type == "cuda" and hardware.world.size == 1
    return Replay(model) if alone and not compiled else None
