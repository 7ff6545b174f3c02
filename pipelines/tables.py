"""The README's tables of the steps, written from their specs: `python -m pipelines.tables README.md`."""

import inspect
import sys
import types
import typing
from pathlib import Path

from components.interchange.step import Parameter, Port, Spec, flag, parameters, ports, step_name
from pipelines.steps import CLUSTER_STEPS, SHARDED_STEPS, STEPS

BEGIN, END = "<!-- steps: written by `make docs` -->", "<!-- end of steps -->"


def step_tables() -> str:
    """Markdown: a heading a step, and its tables (artifacts, parameters), where it has any."""
    return "\n".join(_step(step.spec) for step in [*STEPS, *SHARDED_STEPS, *CLUSTER_STEPS])


def _step(spec: type[Spec]) -> str:
    rows = [_artifact(port, "reads") for port in ports(spec, "in")]
    rows += [_artifact(port, "writes") for port in ports(spec, "out")]
    lines = [f"### `{step_name(spec)}`", "", f"{inspect.getdoc(spec)}", ""]
    if rows:
        lines += ["| artifact | kind | |", "|---|---|---|", *rows, ""]
    given = [_parameter(parameter) for parameter in parameters(spec)]
    if given:
        lines += ["| parameter | type | default | |", "|---|---|---|---|", *given, ""]
    return "\n".join(lines)


def _artifact(port: Port, verb: str) -> str:
    more = ", optional" if port.optional else ", several" if port.many else ""
    return f"| {verb} `{flag(port.name)}` | {port.kind}{more} | {port.help} |"


def _parameter(parameter: Parameter) -> str:
    default = "required" if parameter.required else _value(parameter.default)
    unit = f" ({parameter.unit})" if parameter.unit else ""
    return f"| `{flag(parameter.name)}` | {_type(parameter.annotation)}{unit} | {default} | {parameter.help} |"


def _value(value: object) -> str:
    if value is None or value == ():
        return "not given"
    if isinstance(value, tuple):
        return "`" + ",".join(str(item) for item in value) + "`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        return _type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if isinstance(annotation, types.UnionType):
        return " or ".join(_type(part) for part in typing.get_args(annotation) if part is not types.NoneType)
    if typing.get_origin(annotation) is tuple:
        return f"list of {_type(typing.get_args(annotation)[0])}"
    return getattr(annotation, "__name__", str(annotation))


def with_tables(text: str) -> str:
    """A README's text with the part between the two markers written anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{step_tables()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")
