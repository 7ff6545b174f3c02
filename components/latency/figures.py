"""What is measured, as it grows: rows, points of the plot, samples by what they are of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from components.interchange.report import CONFIDENCE, Row
from components.latency.curve import Point
from components.latency.intervals import Estimate, percentile, runs_for

PERCENTILES = (50, 90, 99)


@dataclass
class Figures:
    """Rows, points and samples of all that was measured so far."""

    rows: list[Row] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    samples_ms: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def add(self, of: str, samples_ms: NDArray[np.float64], images_per_s: Estimate | None = None) -> None:
        """Every percentile that so many runs can give, and the throughput where it is known."""
        n = len(samples_ms)
        allowed = [percent for percent in PERCENTILES if n >= runs_for(percent)] or [50]
        self.samples_ms[of] = samples_ms
        self.add_estimates(of, n, {percent: percentile(samples_ms, percent, CONFIDENCE) for percent in allowed})
        if images_per_s is not None:
            self.add_throughput(of, n, float(np.median(samples_ms)), images_per_s)

    def add_estimates(self, of: str, n: int, by_percent: dict[int, Estimate]) -> None:
        """A row for each percentile."""
        self.rows += [_row(f"p{percent}_ms", estimate, "ms", of, n) for percent, estimate in by_percent.items()]

    def add_throughput(self, of: str, n: int, p50_ms: float, images_per_s: Estimate) -> None:
        """A row and a point of the plot."""
        self.rows.append(_row("images_per_s", images_per_s, "images/s", of, n))
        self.points.append(Point(of, p50_ms, images_per_s.value))

    def add_medians(self, of: str, found: Sequence[dict[str, float]]) -> None:
        """Medians of figures of which there are too few for an interval."""
        self.rows += [
            Row(
                name=name,
                value=float(np.median([one[name] for one in found])),
                unit=name.split("_")[-1],
                of=of,
                n=len(found),
            )
            for name in found[0]
        ]


def _row(name: str, estimate: Estimate, unit: str, of: str, n: int) -> Row:
    value, low, high = estimate
    return Row(name=name, value=value, unit=unit, of=of, n=n, low=low, high=high)
