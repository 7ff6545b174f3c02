"""A step's interface, declared once: the artifacts it reads and writes, and its parameters.

The command line, the Kubeflow component, the Prefect task and the README's tables are derived from it.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

ArtifactKind = Literal["dataset", "classifier", "onnx_model", "report", "verdict", "share"]


class Spec(BaseModel):
    """Base of every step's spec: frozen, and closed to names it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def part(self) -> str:
        """Which it is of several tasks of this step in one run; empty where there is one."""
        return ""


class RunContext(BaseModel):
    """Where and for whom a step runs. No part of its spec, key or report."""

    store: str | None = Field(default=None, description="Artifact store: a folder, file:// or s3:// URI")
    run_id: str | None = Field(default=None, description="The run this step belongs to")
    model_name: str = Field(default="model", description="Name of the champion that a run competes for")
    executor_input: str | None = Field(default=None, description="Kubeflow's own: where it expects the task's outputs")


def reads(kind: ArtifactKind, help: str, *, optional: bool = False, many: bool = False) -> Any:
    """Declare an input artifact: a folder that another step wrote; with `many` a tuple of them."""
    extra: dict[str, Any] = {"artifact": kind, "direction": "in", "many": many}
    return Field(default=None if optional else ..., description=help, json_schema_extra=extra)


def writes(kind: ArtifactKind, help: str, *, optional: bool = False) -> Any:
    """Declare an output artifact: a folder (for a verdict: a file) that the step makes.

    The graphs ask for every output; by hand an optional one may be left out, and the step writes none.
    """
    extra: dict[str, Any] = {"artifact": kind, "direction": "out"}
    return Field(default=None if optional else ..., description=help, json_schema_extra=extra)


def param(help: str, *, default: Any = ..., unit: str = "", location: bool = False, **bounds: Any) -> Any:
    """Declare a parameter. `bounds` are pydantic's own: gt, ge, lt, le, min_length, pattern.

    A `location` (a path or URI, or what else no output depends on) says where something is and not what it is: no
    report, card or key records it.
    """
    return Field(default=default, description=help, json_schema_extra={"unit": unit, "location": location}, **bounds)


@dataclass(frozen=True)
class Port:
    """One artifact that a step reads or writes."""

    name: str
    kind: ArtifactKind
    help: str
    optional: bool
    many: bool


@dataclass(frozen=True)
class Parameter:
    """One parameter of a step; `default` is `None` as well when it is `required`, `bounds` are in words."""

    name: str
    annotation: Any
    required: bool
    default: Any
    unit: str
    bounds: str
    help: str
    location: bool


def _bounds(metadata: list[Any]) -> str:
    """pydantic's bounds in words: `over 0, at most 1`."""
    words = {"gt": "over", "ge": "at least", "lt": "under", "le": "at most"}
    found = ((name, getattr(bound, name, None)) for bound in metadata for name in words)
    return ", ".join(f"{words[name]} {value:g}" for name, value in found if value is not None)


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def ports(spec: type[Spec], direction: Literal["in", "out"]) -> list[Port]:
    """The artifacts that a step reads (`in`) or writes (`out`), in the order of declaration."""
    return [
        Port(name, extra["artifact"], field.description or "", not field.is_required(), extra.get("many", False))
        for name, field in spec.model_fields.items()
        if (extra := _extra(field)).get("direction") == direction
    ]


def parameters(spec: type[Spec]) -> list[Parameter]:
    """The parameters of a step, in the order of declaration."""
    return [
        Parameter(
            name=name,
            annotation=field.annotation,
            required=field.is_required(),
            default=None if field.is_required() else field.get_default(call_default_factory=True),
            unit=_extra(field).get("unit", ""),
            bounds=_bounds(field.metadata),
            help=field.description or "",
            location=_extra(field).get("location", False),
        )
        for name, field in spec.model_fields.items()
        if "artifact" not in _extra(field)
    ]


def flag(name: str) -> str:
    """The command-line flag of a port or parameter: `--base-lr` for `base_lr`."""
    return f"--{name.replace('_', '-')}"


def flag_words(name: str, value: Any) -> list[str]:
    """A flag and its value as a command line has them: text as it is, truth values and lists as JSON."""
    return [flag(name), json.dumps(value) if isinstance(value, bool | list | tuple) else str(value)]


def step_name(spec: type[Spec]) -> str:
    """The step that a spec belongs to: its class's name with underscores."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", spec.__name__).lower()


def task_name(spec: Spec) -> str:
    """The step of a spec, and which of its tasks it is where a run has several."""
    return "_".join(filter(None, (step_name(type(spec)), spec.part)))


def input_folders(spec: Spec) -> dict[str, Path]:
    """Input artifacts that were given, by port name; those of a port for many are numbered from 1."""
    found: dict[str, Path] = {}
    for port in ports(type(spec), "in"):
        given = getattr(spec, port.name)
        if port.many:
            found |= {f"{port.name} {number}": path for number, path in enumerate(given, 1)}
        elif given is not None:
            found[port.name] = given
    return found


def given_parameters(spec: Spec) -> dict[str, Any]:
    """Parameter values as JSON types: what a report, a card and a step key record of a spec. No paths, no URIs."""
    names = {parameter.name for parameter in parameters(type(spec)) if not parameter.location}
    return spec.model_dump(mode="json", include=names)
