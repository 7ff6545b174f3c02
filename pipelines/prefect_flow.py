"""The graph as a Prefect flow, written out. A test holds its edges against `steps.py`."""

from typing import Any, Protocol

from prefect import flow, runtime

from pipelines.plan import Request
from pipelines.prefect_adapter import StepTasks
from pipelines.run_options import Strategy
from pipelines.runner import Outcome
from pipelines.steps import NOT_DRIFTED, PROMOTED, graph_for
from pipelines.store import open_store
from pipelines.terminal import tell


class Steps(Protocol):
    """What the graph asks of an engine."""

    def __call__(self, name: str, **inputs: str | None) -> dict[str, str]: ...
    def word(self, digest: str) -> str: ...
    def skip(self, name: str, why: str) -> None: ...


def graph(step: Steps, strategy: Strategy) -> None:
    """The eight steps, or seven: what feeds what, and what is left out when."""
    ingest = step("ingest")
    if step.word(ingest["drift"]) == "stop":
        for left_out in graph_for(strategy)[1:]:
            step.skip(left_out.name, NOT_DRIFTED.otherwise)
        return
    baseline = candidate = None
    if strategy != "finetune":
        baseline = step("feature_extraction", dataset=ingest["dataset"])["classifier"]
    if strategy != "feature_extraction":
        candidate = step("finetune", dataset=ingest["dataset"])["classifier"]
    evaluate = step("evaluate", dataset=ingest["dataset"], baseline=baseline, candidate=candidate)
    export = step("export_onnx", dataset=ingest["dataset"], selected=evaluate["selected"])
    latency = step("latency", onnx_model=export["onnx_model"], dataset=ingest["dataset"])
    gate = step(
        "gate",
        ingest_report=ingest["report"],
        evaluate_report=evaluate["report"],
        export_report=export["report"],
        latency_report=latency["report"],
    )
    verdict = step.word(gate["verdict"])
    if verdict == "promote":
        step("promote", onnx_model=export["onnx_model"], gate_report=gate["report"])
    else:
        step.skip("promote", PROMOTED.otherwise.format(word=verdict))


@flow(name="graft", flow_run_name="{request[run_id]}", validate_parameters=False, persist_result=False)
def graft(request: dict[str, Any]) -> tuple[dict[str, Outcome], str]:
    """From a source of images to a proven ONNX model. `request` holds the fields of `plan.Request`.

    What became of each step, and the id of the flow run.
    """
    asked = Request(**request)
    steps = StepTasks(asked, open_store(asked.store), tell)
    graph(steps, asked.strategy)
    return steps.outcomes, str(runtime.flow_run.id)
