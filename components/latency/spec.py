"""What latency reads, writes and can be told."""

from pathlib import Path
from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from components.interchange.step import Spec, param, reads, writes


class Latency(Spec):
    """Measure the ONNX model as a server would run it: real images, warm, every sample kept."""

    onnx_model: Path = reads("onnx_model", "The model to measure")
    dataset: Path = reads("dataset", "Real images to feed")
    report: Path = writes("report", "p50, p90 and p99 with intervals, throughput, every sample")

    max_p99_ms: float | None = param("Budget for a verdict of its own; the gate has one too", default=None, gt=0)
    timed_runs: int = param("Timed single-image runs; a p99 that passes needs 1,000", default=1000, unit="runs", ge=20)
    processes: int = param(
        "Fresh processes that share them, each after a cold start and a warm-up of its own", default=10, ge=1
    )
    max_warmup_runs: int = param("Warm-up ends here if the times have not settled", default=500, unit="runs", ge=10)
    throughput_batches: tuple[PositiveInt, ...] = param("Batch sizes to measure throughput at", default=(8, 32))
    concurrency: tuple[PositiveInt, ...] = param("Numbers of clients that ask at the same time", default=(2, 4))
    threads_to_try: tuple[PositiveInt, ...] = param(
        "Other numbers of threads inside an operator to measure", default=(1,)
    )
    throughput_s: float = param("Time spent on each size and number of clients or threads", default=1.0, unit="s", gt=0)
    rate: float | None = param("Also requests that arrive at this pace", default=None, unit="requests/s", gt=0)
    end_to_end_runs: int = param("Runs with decoding and resizing of source files", default=100, unit="runs", ge=0)
    num_threads: int | None = param("Threads inside an operator; all cores where not given", default=None, ge=1)
    device: Literal["auto", "cpu", "cuda", "openvino"] = param(
        "Execution provider; auto: CUDA where it is here, else CPU", default="auto"
    )

    @model_validator(mode="after")
    def _a_run_for_each_process(self) -> Self:
        if self.processes > self.timed_runs:
            raise ValueError(
                f"processes is {self.processes}, timed_runs is {self.timed_runs}: expected a run or more for each"
            )
        return self
