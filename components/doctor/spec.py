"""What doctor can be told; it looks at the pod that it runs in, and writes what it finds to the store."""

from components.interchange.step import Spec, param


class Doctor(Spec):
    """Check, from inside a pod, what a run needs: GPUs, shared memory, the store, the clock."""

    gpus: int = param("GPUs that must be visible and compute", default=0, ge=0)
    shm_gib: int = param("Shared memory that there must be", default=0, ge=0, unit="GiB")
