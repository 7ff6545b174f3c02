"""The serving client under test: a command that gets image paths and prints one JSON object a line and image, in order.

    {"logits": [1.5, -0.2, 0.1]}
    {"probabilities": {"scratch": 0.7, "good": 0.2, "dent": 0.1}}
    {"probabilities": [0.2, 0.1, 0.7], "classes": ["good", "dent", "scratch"]}

Names are optional; without them the numbers stand in the model's own order. Legend: N images, C classes.
"""

import json
import math
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange.errors import BadInput, listed

Kind = Literal["logits", "probabilities"]
SHOWN_CHARACTERS = 300
SUM_WITHIN, LEAST_SUM_WITHIN, MOST_SUM_WITHIN = 0.005, 0.01, 0.1  # A class: what rounding to two decimals may do.


class Answers(NamedTuple):
    """What a client said of N images: `values_NC` in the model's order of classes."""

    kind: Kind
    values_NC: NDArray[np.float64]


def ask(command: str, images: Sequence[Path], classes: Sequence[str], timeout_s: float) -> Answers:
    """Run the client once on all images. BadInput when it fails, or answers in another way than agreed."""
    try:
        argv = shlex.split(command)
        if not argv:
            raise ValueError("it is empty")
        done = subprocess.run([*argv, *map(str, images)], capture_output=True, text=True, timeout=timeout_s)
    except (ValueError, OSError) as error:
        raise BadInput(f"--client {command!r} cannot be run: {error}.") from None
    except subprocess.TimeoutExpired:
        raise BadInput(f"--client {command!r} did not answer within {timeout_s:g} s (--timeout-s).") from None
    if done.returncode:
        said = done.stderr.strip()[-SHOWN_CHARACTERS:] or "nothing"
        raise BadInput(f"--client {command!r} ended with exit code {done.returncode}; it said: {said}")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if len(lines) != len(images):
        raise BadInput(
            f"--client {command!r} printed {len(lines)} lines for {len(images)} images: expected one JSON object each, "
            "and nothing else, on standard output."
        )
    parsed = [_parsed(line, number, classes) for number, line in enumerate(lines, 1)]
    kinds = sorted({kind for kind, _ in parsed})
    if len(kinds) > 1:
        raise BadInput(f"the client answered with {listed(kinds)} in turn: expected one of them for all images.")
    return Answers(parsed[0][0], np.array([values for _, values in parsed], np.float64))


def _parsed(line: str, number: int, classes: Sequence[str]) -> tuple[Kind, list[float]]:
    where = f"line {number} of the client's answer"
    try:
        found = json.loads(line)
        kind: Kind = "logits" if "logits" in found else "probabilities"
        values, names = found[kind], found.get("classes")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(
            f"{where} is {line[:SHOWN_CHARACTERS]!r}: expected a JSON object with logits or probabilities."
        ) from None
    if isinstance(values, dict):
        names, values = list(values), list(values.values())
    in_order = _in_order(values, names, classes, where)
    within = min(max(SUM_WITHIN * len(classes), LEAST_SUM_WITHIN), MOST_SUM_WITHIN)
    if kind == "probabilities" and not math.isclose(sum(in_order), 1, abs_tol=within):
        raise BadInput(f"{where} has probabilities that add up to {sum(in_order):.3f}, expected 1. Are they logits?")
    return kind, in_order


def _in_order(values: Any, names: Any, classes: Sequence[str], where: str) -> list[float]:
    """The values in the model's order of classes."""
    numbers = isinstance(values, list) and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    if not numbers or len(values) != len(classes):
        raise BadInput(f"{where} has no {len(classes)} finite numbers, one a class ({listed(classes)}).")
    if names is None:
        return [float(value) for value in values]
    if not isinstance(names, list) or sorted(map(str, names)) != sorted(classes):
        raise BadInput(f"{where} names the classes {listed(names)}; the model has {listed(classes)}.")
    by_name = dict(zip(map(str, names), values, strict=True))
    return [float(by_name[name]) for name in classes]
