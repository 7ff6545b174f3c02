"""Where a training computes, and in which numbers."""

from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class Hardware:
    """A device with its precision."""

    device: torch.device
    precision: Precision

    def autocast(self) -> torch.autocast:
        """bf16 for what is safe in it, where that is the precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def choose_precision(device: torch.device) -> Precision:
    """bf16 where the hardware multiplies it: CUDA with bf16, CPUs with AVX512-BF16 or AMX. Elsewhere it is emulated,
    slower than fp32, which is then taken.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    found = torch.cpu.get_capabilities()
    return "bf16" if found.get("avx512_bf16", False) or found.get("amx_bf16", False) else "fp32"
