"""The serving client under test: a command that gets image paths and prints one JSON object a line and image, in order.

    {"logits": [1.5, -0.2, 0.1]}
    {"probabilities": {"scratch": 0.7, "good": 0.2, "dent": 0.1}}
    {"probabilities": [0.2, 0.1, 0.7], "classes": ["good", "dent", "scratch"]}

Names are optional; without them the numbers stand in the model's own order. Legend: N images, C classes.
"""

import json
import math
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.interchange.errors import BadInput, listed

Kind = Literal["logits", "probabilities"]
SHOWN_CHARACTERS = 300
LARGEST = 1e30  # Of a logit: beyond it no difference is a number.
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
        code, output, errors = _run([*argv, *map(str, images)], timeout_s)
    except (ValueError, OSError) as error:
        raise BadInput(f"--client {command!r} cannot be run: {error}.") from None
    except subprocess.TimeoutExpired:
        raise BadInput(f"--client {command!r} did not answer within {timeout_s:g} s (--timeout-s).") from None
    if code:
        said = errors.decode(errors="replace").strip()[-SHOWN_CHARACTERS:] or "nothing"
        raise BadInput(f"--client {command!r} ended with exit code {code}; it said: {said}")
    try:
        lines = [line for line in output.decode().split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise BadInput(f"--client {command!r} printed what is no UTF-8 ({error}): expected lines of JSON.") from None
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


def _run(argv: Sequence[str], timeout_s: float) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and error of a command. What it started ends with it, should it not end in time."""
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except BaseException:  # Ctrl-C, too: it does not reach another session.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output, errors


def _parsed(line: str, number: int, classes: Sequence[str]) -> tuple[Kind, list[float]]:
    where = f"line {number} of the client's answer"
    try:
        found = json.loads(line)
        kind: Kind = "logits" if "logits" in found else "probabilities"
        values, names = found[kind], found.get("classes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(
            f"{where} is {line[:SHOWN_CHARACTERS]!r}: expected a JSON object with logits or probabilities."
        ) from None
    if isinstance(values, dict):
        names, values = list(values), list(values.values())
    in_order = _in_order(values, names, classes, where)
    within = min(max(SUM_WITHIN * len(classes), LEAST_SUM_WITHIN), MOST_SUM_WITHIN)
    if kind == "probabilities" and not math.isclose(sum(in_order), 1, abs_tol=within):
        raise BadInput(f"{where} has probabilities that add up to {sum(in_order):.3f}, expected 1. Are they logits?")
    if kind == "probabilities" and not all(0 <= value <= 1 for value in in_order):
        raise BadInput(f"{where} has probabilities below 0 or above 1.")
    return kind, in_order


def _in_order(values: Any, names: Any, classes: Sequence[str], where: str) -> list[float]:
    """The values in the model's order of classes."""
    numbers = isinstance(values, list) and all(isinstance(v, int | float) and abs(v) < LARGEST for v in values)
    if not numbers or len(values) != len(classes):
        raise BadInput(f"{where} has no {len(classes)} finite numbers, one a class ({listed(classes)}).")
    if names is None:
        return [float(value) for value in values]
    if not isinstance(names, list) or sorted(map(str, names)) != sorted(classes):
        told = listed(names) if isinstance(names, list) else repr(names)
        raise BadInput(f"{where} names the classes {told}; the model has {listed(classes)}.")
    by_name = dict(zip(map(str, names), values, strict=True))
    return [float(by_name[name]) for name in classes]
