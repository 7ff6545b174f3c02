"""A step's spec as a Kubeflow container component: the same flags, typed artifacts, written once.

Values that are known when the pipeline is compiled stand in the command line as they are; only what a run may change
becomes a parameter of the component.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kfp import dsl

from components.interchange.step import flag, flag_words, parameters, ports
from pipelines.steps import Step

ARTIFACTS = {
    "dataset": dsl.Dataset,
    "classifier": dsl.Model,
    "onnx_model": dsl.Model,
    "report": dsl.Artifact,
    "share": dsl.Dataset,
}
POSITION = inspect.Parameter.POSITIONAL_OR_KEYWORD


def component(
    step: Step, values: Mapping[str, Any], run_time: Mapping[str, Any], image: str, processes: int = 1
) -> Callable[..., Any]:
    """The container component of a step.

    `values` are parameters fixed at compile time; `run_time` maps parameters of the step, and of the run context, to
    the types that Kubeflow shall know them by (`str`, `int`, `float`, or an optional of these). With several
    `processes`, torchrun starts that many.
    """
    signature = _signature(step, run_time)
    known = {parameter.name for parameter in parameters(step.spec)}
    settled = known - run_time.keys()
    fixed = {name: value for name, value in values.items() if name in settled and value is not None}

    def body(*placeholders: Any) -> dsl.ContainerSpec:
        given = dict(zip((parameter.name for parameter in signature), placeholders, strict=True))
        words: list[Any] = [word for name, value in fixed.items() for word in flag_words(name, value)]
        for port in [*ports(step.spec, "in"), *ports(step.spec, "out")]:
            if port.name in given and not port.many:  # The step finds those of a list in --executor-input.
                place = given[port.name] if port.kind == "verdict" else given[port.name].path
                words += [flag(port.name), place]
        for name, annotation in run_time.items():
            pair = [flag(name), given[name]]
            words += [dsl.IfPresentPlaceholder(name, pair)] if _is_optional(annotation) else pair
        if "checkpoint_uri" in known:  # One a run, so that a retried pod goes on where the last one ended.
            place = dsl.ConcatPlaceholder([given["store"], "/checkpoints/", given["run_id"]])
            words += [flag("checkpoint_uri"), place]
        words += [flag("executor_input"), dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
        return dsl.ContainerSpec(image=image, command=_command(step, processes), args=words)

    body.__name__ = step.name
    body.__doc__ = step.spec.__doc__
    body.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    body.__annotations__ = {parameter.name: parameter.annotation for parameter in signature}
    made: Callable[..., Any] = dsl.container_component(body)
    return made


def _signature(step: Step, run_time: Mapping[str, Any]) -> list[inspect.Parameter]:
    """What the component is given: artifacts that it reads, parameters of the run, places of what it writes."""
    kinds: dict[str, Any] = {}
    for port in ports(step.spec, "in"):
        if port.name in step.inputs:
            kind = ARTIFACTS[port.kind]
            kinds[port.name] = dsl.Input[list[kind] if port.many else kind]  # type: ignore[valid-type]
    kinds |= run_time
    for port in ports(step.spec, "out"):
        kinds[port.name] = dsl.OutputPath(str) if port.kind == "verdict" else dsl.Output[ARTIFACTS[port.kind]]
    kinds |= only_in_kubeflow(step)
    defaults = {name: None if _is_optional(kind) else inspect.Parameter.empty for name, kind in kinds.items()}
    made = [inspect.Parameter(name, POSITION, annotation=kinds[name], default=defaults[name]) for name in kinds]
    return sorted(made, key=lambda parameter: parameter.default is None)  # Python's order: defaults last.


def only_in_kubeflow(step: Step) -> dict[str, Any]:
    """Outputs beside the artifacts: what Kubeflow's pages show, and the dataset's digest for the graph."""
    found: dict[str, Any] = {}
    written = {port.name for port in ports(step.spec, "out")}
    if "report" in written:
        found["metrics"] = dsl.Metrics
    if step.name == "evaluate":
        found |= {"html": dsl.HTML, "confusion": dsl.ClassificationMetrics}
    shown = {name: dsl.Output[kind] for name, kind in found.items()}
    return shown | ({"dataset_digest": dsl.OutputPath(str)} if "dataset" in written else {})


def _command(step: Step, processes: int) -> list[str]:
    module = ["-m", step.spec.__module__.rpartition(".")[0]]
    if processes == 1:
        return ["python", *module]
    return ["torchrun", "--standalone", f"--nproc-per-node={processes}", *module]


def _is_optional(annotation: Any) -> bool:
    return type(None) in getattr(annotation, "__args__", ())
