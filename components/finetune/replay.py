"""A pass over a whole batch on a GPU as one CUDA graph: recorded once, and launched whole from then on.

Python launches the kernels of a small network one by one more slowly than a GPU runs them: a step of ResNet18 on 128
images took 16.4 ms on an H100 whose kernels took 12.2. The same kernels on the same numbers give the same bits.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from components.finetune.devices import Hardware
from components.interchange.errors import memory_ran_out

log = logging.getLogger("graft")
# What torch warns of: a pass that waits for the GPU, and the mode that tells of it.
WAITS, PROTOTYPE = "called a synchronizing CUDA operation", "Synchronization debug mode is a prototype"
Inputs = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class Recording:
    """A pass as a graph, what it is `of`, and the tensors in the graph's own memory that it reads and writes."""

    of: tuple[Any, ...]
    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    value: Tensor
    gradients: list[tuple[nn.Parameter, Tensor | None]]

    def launched(self, inputs: Inputs) -> Tensor:
        """The value for other inputs; the parameters have the gradients then."""
        for own, given in zip(self.inputs, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given)
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        self.graph.replay()
        return self.value.clone()


class Replay:
    """Passes of one model. What is recorded holds for inputs of one shape and one set of trainable parameters; after
    a change of either the next pass is an ordinary one, which warms up the libraries, and the one after it is recorded.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._failed = model, False
        self._warm: tuple[Any, ...] | None = None
        self.recorded: Recording | None = None

    def __call__(self, work: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        """The scalar that `work` makes of the inputs, leaving gradients in the parameters, whatever was there.

        A pass that asks the GPU for a value cannot be recorded, nor one that memory does not hold besides: then all
        passes are ordinary ones, which the log says.
        """
        of = (self._trainable(), *(None if one is None else (one.shape, one.dtype) for one in inputs))
        if self.recorded is not None and self.recorded.of != of:
            self.forget()
        if self.recorded is None and self._warm == of and not self._failed:
            self.recorded = self._record(of, work, inputs)
        if self.recorded is not None:
            return self.recorded.launched(inputs)
        self._model.zero_grad(set_to_none=True)
        if self._warm == of:
            return work(*inputs)
        self._warm = of
        return self._warmed_up(work, inputs)

    def forget(self) -> None:
        """Let go of what is recorded: it holds the memory of a whole pass, beside what ordinary passes need."""
        self._model.zero_grad(set_to_none=True)
        self._warm = self.recorded = None

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
        for one in said:
            if not any(words in str(one.message) for words in (WAITS, PROTOTYPE)):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        return value

    def _off(self, why: str) -> None:
        if not self._failed:
            log.warning("replay=off: a step cannot be recorded (%s)", why)
        self._failed = True

    def _trainable(self) -> tuple[bool, ...]:
        return tuple(parameter.requires_grad for parameter in self._model.parameters())

    def _record(self, of: tuple[Any, ...], work: Callable[..., Tensor], inputs: Inputs) -> Recording | None:
        graph = torch.cuda.CUDAGraph()
        self._model.zero_grad(set_to_none=True)
        try:
            own = tuple(one if one is None else one.clone() for one in inputs)
            # Of this thread alone: another one brings the next batch to the GPU meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                value = work(*own)
        except RuntimeError as error:
            if not memory_ran_out(error):
                raise
            self._off("memory does not hold it")
            return None
        gradients = [(parameter, parameter.grad) for parameter in self._model.parameters()]
        return Recording(of, graph, own, value, gradients)


def replay_of(model: nn.Module, hardware: Hardware, compiled: bool) -> Replay | None:
    """A Replay where there is something to gain: on a GPU that no other process shares gradients with. torch.compile
    has its own launches.
    """
    alone = hardware.device.type == "cuda" and hardware.world.size == 1
    return Replay(model) if alone and not compiled else None
