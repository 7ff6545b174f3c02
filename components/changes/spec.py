"""What changes reads, writes and can be told."""

from pathlib import Path

from components.interchange.step import Spec, param, writes


class Changes(Spec):
    """Say whether anything changed since the champion was made: dataset, parameters or images. Kubeflow only."""

    word: Path = writes("verdict", "One word: changed or unchanged")
    report: Path = writes("report", "What this run was asked for, and what differs from the champion's run")

    dataset_digest: str = param("Digest of the run's dataset")
    pipeline_digest: str = param("Digest of what was fixed when the pipeline was compiled: parameters and images")
    seed: int = param("Seed of the run", default=0)
    max_p99_ms: float | None = param("The gate's budget of the run", default=None, unit="ms")
    min_top1: float | None = param("The gate's budget of the run", default=None)
    min_gain: float | None = param("The gate's budget of the run", default=None)
