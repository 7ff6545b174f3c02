"""What a container was given: GPUs, shared memory, a place to write, a user that is not root."""

import os
import shutil
import tempfile
from pathlib import Path

from components.doctor.check import Check, checked
from components.interchange.errors import BadInput

GPU = (
    "Is the device plugin of the GPU's maker running, does --gpu name the resource that `kubectl describe node` shows, "
    "and is the node's driver new enough for the CUDA that torch was built with?"
)
SHM = "Give the step more: --resource finetune.shm-gib=N. It counts towards the memory limit."
WRITE = "Everything is written below /tmp: mount an emptyDir there where the root file system is read-only."
SHM_FOLDER = Path("/dev/shm")


def gpu_check(wanted: int) -> Check:
    """As many GPUs as were asked for, and each of them computes."""
    return checked("gpu", lambda: _gpus(wanted), GPU)


def _gpus(wanted: int) -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count < wanted:
        raise BadInput(f"torch {torch.__version__} sees {count} GPUs, expected {wanted}.")
    names = []
    for index in range(wanted):
        try:
            ones = torch.ones(64, 64, device=f"cuda:{index}")
            product = float((ones @ ones).sum())
        except RuntimeError as error:
            raise BadInput(f"GPU {index} does not compute ({str(error).splitlines()[0]}).") from None
        if product != 64**3:
            raise BadInput(f"GPU {index} computes wrongly: {product} instead of {64**3}.")
        names.append(torch.cuda.get_device_name(index))
    return f"{', '.join(names)}; torch {torch.__version__}, CUDA {torch.version.cuda}"


def shared_memory_check(wanted_gib: int, folder: Path = SHM_FOLDER) -> Check:
    """Shared memory of the size that training asks for."""

    def look() -> str:
        size_gib = shutil.disk_usage(folder).total / 2**30 if folder.is_dir() else 0.0
        if size_gib < wanted_gib * 0.99:
            raise BadInput(f"{folder} has {size_gib:.2f} GiB, expected {wanted_gib}.")
        return f"{size_gib:.2f} GiB"

    return checked("shared memory", look, SHM)


def write_check() -> Check:
    """A temporary file can be written."""

    def look() -> str:
        try:
            with tempfile.NamedTemporaryFile(prefix="graft-doctor-") as file:
                file.write(b"written")
                file.flush()
        except OSError as error:
            raise BadInput(f"{tempfile.gettempdir()} cannot be written to ({error.strerror}).") from None
        free_gib = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
        return f"{tempfile.gettempdir()}, {free_gib:.1f} GiB free, as user {os.getuid()}"

    return checked("write access", look, WRITE)


def user_check() -> Check:
    """Root is not needed, and most clusters forbid it."""
    user = os.getuid()
    if user == 0:
        return Check(
            "user", "warn", "this container runs as root", "graft compile sets the user; does a policy undo it?"
        )
    return Check("user", "ok", f"user {user}, group {os.getgid()}")
