"""Top-1 by parts of the test set: the manifest's columns, format, size, brightness; the worst is named.

Small parts are told but never named the worst, and what sticks out is held against chance: with many parts, one always
looks bad. Legend: N images.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from components.evaluate.bootstrap import Interval
from components.evaluate.proportions import share
from components.evaluate.scores import row_of
from components.interchange.ledgers import Sample
from components.interchange.report import CONFIDENCE, Row

LEAST_IMAGES = 20  # Of a part that may be named the worst: with fewer the interval is half the scale.
MOST_VALUES = 50  # A column with more of them names images, not kinds of images,
LEAST_SHARED = 2  # as does one whose values have fewer images than this on average.
FEW_NUMBERS = 8  # A column with more different numbers is cut into quarters.
QUARTERS = 4
Value = str | float | None


class Slice(NamedTuple):
    """One part of the test set. `p`: how often chance alone would leave it this far behind the rest."""

    name: str
    n: int
    top1: Interval
    p: float


def columns_of(samples: Sequence[Sample], ids: Sequence[str]) -> dict[str, list[Value]]:
    """What images can be told apart by, a value an image, in the order of `ids`; columns without values are left out.

    `size` is the short side of the source in pixels, `brightness` the mean luma of the stored image.
    """
    by_id = {sample.id: sample for sample in samples}
    chosen = [by_id[source_id] for source_id in ids]
    attributes = [json.loads(sample.attributes) if sample.attributes else {} for sample in chosen]
    named: dict[str, list[Value]] = {
        name: [None if found.get(name) in (None, "") else str(found[name]) for found in attributes]
        for name in sorted({name for found in attributes for name in found})
    }
    own: dict[str, list[Value]] = {
        "format": [sample.format for sample in chosen],
        "size": [float(min(sample.width, sample.height)) for sample in chosen],
        "brightness": [sample.brightness for sample in chosen],
    }
    columns = {**{name: values for name, values in own.items() if name not in named}, **named}
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def sliced(columns: Mapping[str, Sequence[Value]], hits_N: NDArray[np.bool_]) -> tuple[list[Slice], list[str]]:
    """Every part of every column with its top-1, and the columns that have too many values to be parted by."""
    slices: list[Slice] = []
    left_out = []
    for column, values in columns.items():
        parts = dict(_parts(values))
        if len(parts) > min(MOST_VALUES, len(values) / LEAST_SHARED):
            left_out.append(column)
        elif len(parts) > 1:
            slices += [_slice(f"{column}={label}", chosen_N, hits_N) for label, chosen_N in parts.items()]
    return slices, left_out


def _parts(values: Sequence[Value]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """A label and the images of each part: quarters of many numbers, else one part a value."""
    known = [value for value in values if value is not None]
    numbers = _numbers(known)
    if numbers is not None and len(set(numbers)) > FEW_NUMBERS:
        numbers_N = np.array([math.nan if value is None else float(value) for value in values])
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, QUARTERS + 1)))
        quarter_N = np.searchsorted(edges[1:-1], numbers_N, side="left")
        for quarter, (low, high) in enumerate(pairwise(_told_apart(edges))):
            yield f"{low} to {high}", (quarter_N == quarter) & ~np.isnan(numbers_N)
    else:
        for value in sorted(set(known), key=str):
            label = f"{value:g}" if isinstance(value, float) else str(value)
            yield label, np.array([one == value for one in values])
    if len(known) < len(values):
        yield "(none)", np.array([value is None for value in values])


def _told_apart(edges: NDArray[np.float64]) -> list[str]:
    """Numbers as texts of four digits; more where a whole number, or a difference, would be lost: times, batches."""
    digits = min(17, max(4, *(len(f"{abs(edge):.0f}") for edge in edges)))
    while len(set(told := [f"{edge:.{digits}g}" for edge in edges])) < len(edges):
        digits += 1
    return told


def _numbers(values: Sequence[str | float]) -> list[float] | None:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _slice(name: str, chosen_N: NDArray[np.bool_], hits_N: NDArray[np.bool_]) -> Slice:
    inside, outside = hits_N[chosen_N], hits_N[~chosen_N]
    table = [[int(inside.sum()), int((~inside).sum())], [int(outside.sum()), int((~outside).sum())]]
    return Slice(name, len(inside), share(inside), float(fisher_exact(table, alternative="less").pvalue))


def worst(slices: Sequence[Slice]) -> Slice | None:
    """The part whose top-1 is surely lowest: the lowest upper bound of those with enough images; None without such.

    Those that stand out come first: of many small parts one may lie lower by chance than a large one that is worse.
    """
    large = [one for one in slices if one.n >= LEAST_IMAGES]
    clearly = [one for one in large if stands_out(one, len(slices))]
    return min(clearly or large, key=lambda one: (one.top1.high, one.top1.value, one.name), default=None)


def stands_out(one: Slice, num_slices: int) -> bool:
    """Whether it is worse than the rest by more than chance explains, with so many parts looked at (Bonferroni)."""
    return one.p * num_slices < 1 - CONFIDENCE


def slice_rows(slices: Sequence[Slice]) -> list[Row]:
    """A row `slice_top1` a part; `of` names it."""
    return [row_of("slice_top1", *one.top1, of=one.name, split="test", n=one.n) for one in slices]


def facts(slices: Sequence[Slice], left_out: Sequence[str]) -> dict[str, Any]:
    """What the report says of the parts beside their rows."""
    last = worst(slices)
    return {
        "worst": None if last is None else last.name,
        "stands_out": last is not None and stands_out(last, len(slices)),
        "looked_at": len(slices),
        "least_images": LEAST_IMAGES,
        "too_small": [one.name for one in slices if one.n < LEAST_IMAGES],
        "left_out": list(left_out),
    }
