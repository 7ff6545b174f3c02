"""The page of the latency report."""

from collections.abc import Sequence
from typing import Any

from components.interchange.page import Plot, Section, Table, Text, render
from components.interchange.report import Row
from components.latency.curve import Point, curve


def page(rows: Sequence[Row], points: list[Point], details: dict[str, Any]) -> str:
    """The page as HTML: verdict and noise, every figure with its interval, throughput against latency."""
    machine, noise = details["machine"], details["noise"]
    p50, p99 = (next(row for row in rows if row.name == name) for name in ("p50_ms", "p99_ms"))
    lead = f"p50 {_shown(p50)}, p99 {_shown(p99)} at batch 1 on {details['provider']}."
    if details["verdict"] is not None:
        lead += f" Verdict: {details['verdict']}."
    quiet = "too noisy for a figure to be trusted" if details["noisy"] else "quiet enough"
    where = (
        f"{machine['processor']}, {machine['cores']} cores, {details['num_threads']} threads, onnxruntime "
        f"{machine['onnxruntime']}. The machine was {quiet}: measured against itself, in turn, p50 differed by "
        f"{noise['p50_difference']:.1%} and p99 by {noise['p99_difference']:.1%}."
    )
    table = Table(
        ("of", "figure", "value", "95 % interval", "n"),
        [
            (row.of, row.name, _value(row), _interval(row), "" if row.n is None else f"{row.n:,}")
            for row in rows
            if row.of
        ],
    )
    figures = Section("Every figure", [table, Text(details["advice"])] if details["advice"] else [table])
    plot = Plot([curve(points)], "Each way of asking: up and to the left is better.")
    return render("Latency", lead, [Section("Where", [Text(where)]), Section("Throughput", [plot]), figures])


def _value(row: Row) -> str:
    return f"{row.value:,.4g} {row.unit}" if isinstance(row.value, int | float) else str(row.value)


def _interval(row: Row) -> str:
    if row.low is None and row.high is None:
        return ""
    return " to ".join("unbounded" if bound is None else f"{bound:,.4g}" for bound in (row.low, row.high))


def _shown(row: Row) -> str:
    return f"{row.value:.3g} ms" if isinstance(row.value, int | float) else "unknown"
