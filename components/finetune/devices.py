"""Where a training computes, and in which numbers."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch

from components.finetune.distributed import World, connected
from components.finetune.slow_kernels import OtherGradients
from components.interchange.errors import BadInput
from components.interchange.inference import choose_device
from components.interchange.memory import keep_freed_memory

log = logging.getLogger("graft")
Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class Hardware:
    """A device with its precision, and the processes that share the work."""

    device: torch.device
    precision: Precision
    world: World = field(default_factory=World)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """bf16 for what is safe in it, where that is the precision."""
        with ExitStack() as stack:
            stack.enter_context(torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"))
            if self.device.type == "cpu":
                stack.enter_context(OtherGradients(self.precision == "bf16"))
            yield


@contextmanager
def prepared(name: str) -> Iterator[Hardware]:
    """The hardware that `auto`, `cpu` or `cuda` names, set up for training; each process has its own GPU."""
    device = choose_device(name)
    torch.backends.cudnn.deterministic = True
    if device.type == "cuda":
        device = own_gpu()
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")  # TF32, for what autocast leaves in fp32.
    else:
        keep_freed_memory()
    with connected() as world:
        hardware = Hardware(device, choose_precision(device), world)
        log.info(
            "device=%s threads=%d precision=%s processes=%d",
            device, torch.get_num_threads(), hardware.precision, world.size,
        )  # fmt: skip
        yield hardware


def own_gpu() -> torch.device:
    """The GPU of this process, as torchrun numbers them; BadInput where a machine has fewer GPUs than processes."""
    index, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if index >= found:
        raise BadInput(
            f"process {index + 1} of this machine has no GPU of its own: torch sees {found}. "
            "Give torchrun --nproc-per-node no more than there are."
        )
    return torch.device("cuda", index)


def choose_precision(device: torch.device) -> Precision:
    """bf16 where the hardware multiplies it: CUDA with bf16, CPUs with AVX512-BF16 or AMX. Elsewhere it is emulated,
    slower than fp32, which is then taken.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    found = torch.cpu.get_capabilities()
    return "bf16" if found.get("avx512_bf16", False) or found.get("amx_bf16", False) else "fp32"


def check_compiler() -> None:
    """BadInput where torch.compile would find no compiler for what it writes."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++", "gcc")):
        raise BadInput(
            "--compile-model true: torch.compile needs a C++ compiler, and there is no g++ here. Leave it out."
        )
