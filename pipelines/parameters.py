"""From a recipe, options and `--set STEP.PARAM=VALUE` to the parameter values of every step, checked by its spec."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, cast, get_args

from pydantic import TypeAdapter, ValidationError

from components.interchange.errors import BadInput, listed, near
from components.interchange.preprocessing import Interpolation
from components.interchange.step import Spec, flag, parameters, ports
from pipelines.recipes import RECIPES, Recipe
from pipelines.run_options import RunOptions
from pipelines.steps import BY_NAME, STEPS, Step

Values = dict[str, Any]
OPTION = re.compile(r"(?<![\w-])--[a-z0-9-]+")


def values_of(recipe: Recipe, graph: Iterable[Step], given: Mapping[str, Values]) -> dict[str, Values]:
    """Parameter values by step: the recipe's, mapped onto the specs by name, then those of `given`."""
    found: dict[str, Values] = {}
    for step in graph:
        names = {parameter.name for parameter in parameters(step.spec)}
        owned = [(setting.name.rpartition("."), setting.value) for setting in recipe.settings]
        taken = {name: value for (owner, _, name), value in owned if name in names and owner in ("", step.name)}
        found[step.name] = taken | dict(given.get(step.name, {}))
    return found


def parsed(assignments: Iterable[str], graph: Iterable[Step]) -> dict[str, Values]:
    """`gate.max-p99-ms=40` and its like, as values by step; BadInput on unknown steps, parameters and wrong values."""
    steps = {step.name: step for step in graph}
    found: dict[str, Values] = {}
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        owner, dot, name = target.strip().replace("-", "_").partition(".")
        if not equals or not dot:
            raise BadInput(f"--set {assignment}: expected STEP.PARAM=VALUE, like gate.max-p99-ms=40.")
        if owner not in steps:
            left_out = f" {owner} is left out by --strategy." if owner in BY_NAME else near(owner, steps)
            raise BadInput(f"--set {assignment}: unknown step {owner!r}.{left_out} Steps: {', '.join(steps)}.")
        if name == "checkpoint_uri":
            raise BadInput(
                f"--set {assignment}: a run saves its training in its store, below checkpoints/. Leave it out."
            )
        found.setdefault(owner, {})[name] = _value(steps[owner].spec, name, text, assignment)
    return found


def forced_steps(force: Iterable[str], graph: Iterable[Step]) -> tuple[str, ...]:
    """The steps that --force names, each once; BadInput lists those that the run does not have."""
    names = [step.name for step in graph]
    wanted = dict.fromkeys(name.replace("-", "_") for name in force)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        left_out = [f" {name} is left out by --strategy." for name in unknown if name in BY_NAME]
        close = "".join(near(name, names) for name in unknown if name not in BY_NAME)
        raise BadInput(f"--force {listed(unknown)}: no such step.{close}{''.join(left_out)} Steps: {', '.join(names)}.")
    return tuple(wanted)


def _value(spec: type[Spec], name: str, text: str, assignment: str) -> Any:
    names = [parameter.name for parameter in parameters(spec)]
    if name not in names:
        flags = [known.replace("_", "-") for known in names]
        known = f"Parameters: {', '.join(flags)}." if flags else "It has no parameters."
        raise BadInput(f"--set {assignment}: unknown parameter.{near(name.replace('_', '-'), flags)} {known}")
    faults = []
    for value in _readings(text):
        try:
            return _adapter(spec, name).validate_python(value)
        except ValidationError as error:
            faults.append(error)
    # Of a list the last reading is the one that was meant.
    told = faults[-1] if faults[0].errors()[0]["type"] == "tuple_type" else faults[0]
    raise BadInput(f"--set {assignment}: {_words(told)}, got {text!r}.")


def _adapter(spec: type[Spec], name: str) -> TypeAdapter[Any]:
    field = spec.model_fields[name]
    return TypeAdapter(cast(Any, Annotated[field.annotation, field]), config=spec.model_config)


def _words(error: ValidationError) -> str:
    faults = error.errors()
    if faults[0]["type"] == "missing":  # The last places of a list that has a fixed length.
        return f"expected {int(faults[-1]['loc'][-1]) + 1} values"
    message = faults[0]["msg"]
    return message[:1].lower() + message[1:]


def fault_of(name: str, value: Any) -> str:
    """What a step that has a parameter of this name says against a value; empty where none does."""
    for step in BY_NAME.values():
        if name in (parameter.name for parameter in parameters(step.spec)):
            try:
                _adapter(step.spec, name).validate_python(value)
            except ValidationError as error:
                return _words(error)
    return ""


def settings_of(flag: str) -> list[str]:
    """How `--set` gives what is an option of steps by this flag: `--set ingest.encoding=VALUE`."""
    name = flag.removeprefix("--").replace("-", "_")
    owners = [step.name for step in STEPS if name in (parameter.name for parameter in parameters(step.spec))]
    return [f"--set {owner}.{name.replace('_', '-')}=VALUE" for owner in owners]


def given_here(words: str, step: str, graph: Iterable[Step]) -> str:
    """How `graft run` is given the options of steps that a step's words name, but for those that it has itself.

    `--weights is --set finetune.weights=VALUE (also of feature_extraction)`; empty where they name none.
    """
    in_order = sorted(graph, key=lambda one: one.name != step)  # Its own options first.
    told = []
    for option in dict.fromkeys(OPTION.findall(words)):
        name = option.removeprefix("--").replace("-", "_")
        owners = [one.name for one in in_order if name in (parameter.name for parameter in parameters(one.spec))]
        if owners and name not in RunOptions.__dataclass_fields__:
            also = f" (also of {', '.join(owners[1:])})" if owners[1:] else ""
            told.append(f"{option} is --set {owners[0]}.{name.replace('_', '-')}=VALUE{also}")
    return "; ".join(told)


def _readings(text: str) -> Iterable[Any]:
    """A value as it stands, as JSON (null, lists), and as a list without its brackets, of numbers or of words."""
    yield text
    for candidate in (text, f"[{text}]"):
        try:
            yield json.loads(candidate)
        except ValueError:
            continue
    yield [word.strip() for word in text.split(",")]


def seeded(graph: Iterable[Step], seed: int) -> dict[str, Values]:
    """One seed for every step that has one; BadInput where none takes it."""
    if fault := fault_of("seed", seed):
        raise BadInput(f"--seed {seed}: {fault}.")
    return {step.name: {"seed": seed} for step in graph if "seed" in step.spec.model_fields}


def for_backbone(
    backbone: str, recipe: Recipe, graph: Iterable[Step], given: Mapping[str, Values]
) -> dict[str, Values]:
    """Values for another backbone than the recipe's: its own weights and image sizes, unless `given` names them."""
    steps = list(graph)
    known = next((other for other in RECIPES if other.value("backbone") == backbone), None)
    values: Values = {"backbone": backbone}
    if backbone != recipe.value("backbone"):
        values["weights"] = known.value("weights") if known else "hub"
        if known:
            values |= {name: known.value(name) for name in ("stored_size_px", "interpolation")}
        elif "stored_size_px" not in given.get("ingest", {}):
            values |= _sizes(backbone)
    return {step.name: {n: v for n, v in values.items() if n in step.spec.model_fields} for step in steps}


def _sizes(backbone: str) -> Values:
    """Stored size (input size / crop_pct) and interpolation of a backbone that no recipe names. Imports timm."""
    import timm

    if not timm.is_model(backbone.split(".")[0]):
        raise BadInput(f"unknown backbone {backbone!r}.{near(backbone, timm.list_models())}")
    config = timm.get_pretrained_cfg(backbone)
    if config is None:
        raise BadInput(f"timm has no pretrained weights of {backbone}. Name its size: --set ingest.stored-size-px=N.")
    interpolation = config.interpolation if config.interpolation in get_args(Interpolation) else "bicubic"
    return {"stored_size_px": round(config.input_size[-1] / config.crop_pct), "interpolation": interpolation}


def merged(*layers: Mapping[str, Values]) -> dict[str, Values]:
    """Values by step; later layers win."""
    return {step: {k: v for layer in layers for k, v in layer.get(step, {}).items()} for step in BY_NAME}


def spec_of(step: Step, values: Values, paths: Mapping[str, Path], options: Iterable[str] = ()) -> Spec:
    """A step's spec over these artifact paths; BadInput names every value that is wrong or lacking, and where to change
    it: `options` are the parameters that were given as options of their own, and not by --set.
    """
    try:
        return step.spec(**values, **paths)
    except ValidationError as error:
        faults, owned = [], set(options)
        for fault in error.errors():
            name, said = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")
            if name in owned:
                faults.append(f"{flag(name)}: {said[:1].lower()}{said[1:]}, got {fault['input']!r}")
            elif name:
                faults.append(f"{step.name}.{name.replace('_', '-')}: {said}. Change it with --set")
            else:
                faults.append(said)
        raise BadInput(f"{'; '.join(faults)}.") from None


def nowhere(step: Step) -> dict[str, Path]:
    """Stand-in paths for a step's artifacts, to build a spec for its key before anything is made."""
    return {port.name: Path(port.name) for port in [*ports(step.spec, "in"), *ports(step.spec, "out")]}
