"""What a step says to --help: its artifacts and parameters, with types, defaults and bounds, from its spec."""

import argparse
import inspect
import shutil
import textwrap
import types
import typing
from typing import Any

from components.interchange.step import Parameter, RunContext, Spec, flag, parameters, ports

WORDS = {str: "TEXT", int: "N", float: "X", bool: "true|false"}
GLUE = "\0"
EXIT_CODES = "Exit codes: 0 done, 1 crash, 2 bad input."


def step_help(spec: type[Spec], command: str) -> str:
    """The help of a step that is called as `command`, as wide as the terminal."""
    width = shutil.get_terminal_size().columns - 2
    parser = argparse.ArgumentParser(
        usage=_usage(spec, command, width),
        description=_paragraphs(inspect.getdoc(spec) or "", width),
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    for title, found in (("reads", ports(spec, "in")), ("writes", ports(spec, "out"))):
        group = parser.add_argument_group(title)
        for port in found:
            more = " (optional)" if port.optional else ""
            group.add_argument(flag(port.name), metavar=_place(port.kind, port.many), help=f"{port.help}{more}")
    _add(parser, "parameters", spec)
    _add(parser, "the run that it belongs to", RunContext)
    parser.add_argument_group("help").add_argument("-h", "--help", action="store_true", help="Show this")
    return parser.format_help().replace("%%", "%")


def _usage(spec: type[Spec], command: str, width: int) -> str:
    """What must be given, none of it torn apart at the end of a line."""
    artifacts = [port for port in [*ports(spec, "in"), *ports(spec, "out")] if not port.optional]
    needed = [f"{flag(port.name)} {_place(port.kind, port.many)}" for port in artifacts]
    needed += [f"{flag(one.name)} {value_form(one.annotation)}" for one in parameters(spec) if one.required]
    text = " ".join(word.replace(" ", GLUE) for word in (command, *needed, "[options]"))
    room = width - len("usage: ")
    return textwrap.fill(text, room, subsequent_indent=" " * 9, break_long_words=False).replace(GLUE, " ")


def _add(parser: argparse.ArgumentParser, title: str, model: Any) -> None:
    group = parser.add_argument_group(title)
    for one in parameters(model):
        facts = [*filter(None, [_unit(one), one.bounds])]
        if one.required or one.default not in (None, ()):
            facts.append("required" if one.required else f"default: {_text(one.default)}")
        told = f"{one.help} ({'; '.join(facts)})" if facts else one.help
        group.add_argument(flag(one.name), metavar=value_form(one.annotation), help=told.replace("%", "%%"))


def _unit(parameter: Parameter) -> str:
    """Its unit, where neither its name nor its help has it."""
    said = [*parameter.name.split("_"), *parameter.help.lower().split()]
    return "" if parameter.unit.lower() in said else parameter.unit


def value_form(annotation: Any) -> str:
    """How a value is written: `N`, `X`, `TEXT`, `true|false`, `early|late`; with commas where there are several."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return value_form(inner[0])
    if origin is typing.Literal:
        return "|".join(map(str, inner))
    if origin in (types.UnionType, typing.Union):
        return value_form(next(one for one in inner if one is not types.NoneType))
    if origin is tuple:
        one = value_form(inner[0])
        return ",".join([one] * len(inner)) if inner[-1] is not Ellipsis else f"{one},..."
    return WORDS.get(annotation, "PATH")


def _place(kind: str, many: bool) -> str:
    one = "FILE" if kind == "verdict" else "DIR"
    return f'["{one}", ...]' if many else one


def _text(value: object) -> str:
    """A value as a command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


def _paragraphs(text: str, width: int) -> str:
    return "\n\n".join(textwrap.fill(" ".join(part.split()), width) for part in text.split("\n\n"))
