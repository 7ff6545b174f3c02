"""The one list of steps: what feeds what, and what each needs to run. Both graphs are checked against it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from components.changes.spec import Changes
from components.doctor.spec import Doctor
from components.evaluate.spec import Evaluate
from components.export_onnx.spec import ExportOnnx
from components.feature_extraction.spec import FeatureExtraction
from components.finetune.spec import Finetune
from components.gate.spec import Gate
from components.ingest.merge.spec import IngestMerge
from components.ingest.share.spec import IngestShare
from components.ingest.spec import Ingest
from components.interchange.step import Spec
from components.latency.spec import Latency
from components.promote.spec import Promote
from components.record.spec import Record
from pipelines.run_options import Strategy


class Condition(NamedTuple):
    """What a step waits for: a verdict artifact, the word it must say, and why the step is left out otherwise."""

    verdict: str
    word: str
    otherwise: str


@dataclass(frozen=True)
class Step:
    """One step. `inputs` maps each of its ports to `step.port`; `gpu` says whether one is of use.

    `extra` names the extra of pyproject.toml whose versions enter its key. A step whose `only_on` does not hold is left
    out, and so is what reads its outputs. `retries` are of a step that this machine killed, most likely for want of
    memory. `shm_gib`, `timeout_s` (from a pod's start on a node) and `pod_retries` (with
    back-off; what failed for its input's sake fails again) are for a cluster alone.
    """

    name: str
    spec: type[Spec]
    cpu: int
    memory_gib: int
    inputs: Mapping[str, str] = field(default_factory=dict)
    extra: str | None = None
    gpu: bool = False
    retries: int = 1
    only_on: Condition | None = None
    shm_gib: int = 0
    timeout_s: int = 3600
    pod_retries: int = 1


HOUR_S = 3600
NOT_DRIFTED = Condition("ingest.drift", "go_on", "the images drifted since the champion")
PROMOTED = Condition("gate.verdict", "promote", "the verdict is {word}")
STEPS = (
    Step("ingest", Ingest, cpu=2, memory_gib=4, extra="ingest", timeout_s=6 * HOUR_S),
    Step(
        "feature_extraction",
        FeatureExtraction,
        cpu=4,
        memory_gib=8,
        gpu=True,
        shm_gib=1,
        timeout_s=6 * HOUR_S,
        extra="train",
        inputs={"dataset": "ingest.dataset"},
        only_on=NOT_DRIFTED,
    ),
    Step(
        "finetune",
        Finetune,
        cpu=4,
        memory_gib=10,
        gpu=True,
        shm_gib=2,
        timeout_s=24 * HOUR_S,
        pod_retries=3,  # Each goes on from the last checkpoint.
        extra="train",
        inputs={"dataset": "ingest.dataset"},
        only_on=NOT_DRIFTED,
    ),
    Step(
        "evaluate",
        Evaluate,
        cpu=4,
        memory_gib=8,
        gpu=True,
        shm_gib=1,
        timeout_s=6 * HOUR_S,
        extra="train",
        inputs={
            "dataset": "ingest.dataset",
            "baseline": "feature_extraction.classifier",
            "candidate": "finetune.classifier",
        },
    ),
    Step(
        "export_onnx",
        ExportOnnx,
        cpu=2,
        memory_gib=8,
        extra="export",
        inputs={"dataset": "ingest.dataset", "selected": "evaluate.selected"},
    ),
    Step(
        "latency",
        Latency,
        cpu=2,
        memory_gib=4,
        extra="latency",
        inputs={"onnx_model": "export_onnx.onnx_model", "dataset": "ingest.dataset"},
    ),
    Step(
        "gate",
        Gate,
        cpu=1,
        memory_gib=1,
        inputs={
            "ingest_report": "ingest.report",
            "evaluate_report": "evaluate.report",
            "export_report": "export_onnx.report",
            "latency_report": "latency.report",
        },
    ),
    Step(
        "promote",
        Promote,
        cpu=1,
        memory_gib=1,
        inputs={"onnx_model": "export_onnx.onnx_model", "gate_report": "gate.report"},
        only_on=PROMOTED,
    ),
)

# What a cluster needs beside the graph: a look at the champion before training, and the summary after everything.
CLUSTER_STEPS = (
    Step("changes", Changes, cpu=1, memory_gib=1),
    Step("record", Record, cpu=1, memory_gib=1, pod_retries=3),
)

# What a cluster runs in the place of ingest where its work is divided.
SHARDED_STEPS = (
    Step("ingest_share", IngestShare, cpu=2, memory_gib=4, extra="ingest", timeout_s=6 * HOUR_S),
    Step(
        "ingest_merge",
        IngestMerge,
        cpu=2,
        memory_gib=4,
        extra="ingest",
        timeout_s=6 * HOUR_S,
        inputs={"shares": "ingest_share.share"},
    ),
)

# `graft doctor --cluster` alone: in the image that has torch, with the GPU and the shared memory of a training.
DOCTOR = Step("doctor", Doctor, cpu=1, memory_gib=3, extra="train", gpu=True, shm_gib=2, timeout_s=900, pod_retries=0)

BY_NAME = {step.name: step for step in STEPS}
LEFT_OUT: dict[Strategy, str] = {"feature_extraction": "finetune", "finetune": "feature_extraction"}


def graph_for(strategy: Strategy) -> list[Step]:
    """The steps of a run in order; a strategy leaves the other one out, with every edge from it."""
    absent = LEFT_OUT.get(strategy)
    return [
        replace(step, inputs={port: ref for port, ref in step.inputs.items() if ref.split(".")[0] != absent})
        for step in STEPS
        if step.name != absent
    ]


def sharded(graph: list[Step]) -> list[Step]:
    """The graph with the work of ingest divided: its reading among shares, which a merge joins."""
    return [
        *SHARDED_STEPS,
        *(
            replace(
                step,
                inputs={port: _merged(ref) for port, ref in step.inputs.items()},
                only_on=step.only_on and step.only_on._replace(verdict=_merged(step.only_on.verdict)),
            )
            for step in graph
            if step.name != "ingest"
        ),
    ]


def _merged(ref: str) -> str:
    return ref.replace("ingest.", "ingest_merge.") if ref.startswith("ingest.") else ref


def edges(graph: list[Step]) -> set[tuple[str, str]]:
    """Every edge as (`step.port` that is written, `step.port` that reads it)."""
    return {(ref, f"{step.name}.{port}") for step in graph for port, ref in step.inputs.items()}
