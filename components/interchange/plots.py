"""Plots as SVG markup that a page takes in, in one style. What a step draws with them is its own business."""

import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

INK = "#010203"  # Stands for the page's own ink: replaced by `currentColor`.
# On a fresh machine matplotlib announces its font cache in the middle of our log.
logging.getLogger("matplotlib").setLevel(logging.WARNING)
mpl.rcdefaults()  # matplotlib has read a matplotlibrc of the current folder, which is no input of a report.
LOSS, SCORE = "#d9782d", "#3f8fd8"
COLOURS = (SCORE, LOSS, "#4fa36b", "#a06cc8", "#c9a227", "#c75b7a", "#5aa6a6", "#8a8f98")
MOST_TICKS = 12
MOST_POINTS = 400  # More than a plot of this size can show.


def svg(figure: Figure, name: str) -> str:
    """Markup of a figure: no XML header, text as text, the same bytes every time. `name` keeps its ids apart."""
    name = name.replace(" ", "-")  # References to an id end at a space.
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    markup = stream.getvalue()
    markup = markup[markup.index("<svg") :]
    return (
        markup.replace(INK, "currentColor")
        .replace('id="', f'id="{name}-')
        .replace("url(#", f"url(#{name}-")
        .replace('href="#', f'href="#{name}-')
    )


def axes_of(x: str, y: str) -> tuple[Figure, Any]:
    """A figure with one pair of axes in the page's ink."""
    figure = Figure(figsize=(3.7, 2.8), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.tick_params(which="both", colors=INK)
    for spine in axes.spines.values():
        spine.set_color(INK)
        spine.set_alpha(0.4)
    axes.grid(color=INK, alpha=0.12)
    return figure, axes


class _AsTyped(LogFormatter):
    """0.001 as a table and a flag have it; to set a power of ten takes as long as all else of a plot."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def lines(
    name: str,
    x_label: str,
    y_label: str,
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    log_x: bool = False,
    log_y: bool = False,
    mark: float | None = None,
) -> str:
    """A line a series over one x, as SVG; a legend where there are several, a dashed line at x = `mark`.

    Long series are thinned to what can be seen. Few points are marked and get a tick each.
    """
    figure, axes = axes_of(x_label, y_label)
    every = -(-len(x) // MOST_POINTS)
    few = len(x) <= MOST_TICKS
    for number, (label, y) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(x[::every], y[::every], color=colour, linewidth=2, marker="o" if few else None, label=label)
    axes.set_xscale("log" if log_x else "linear")
    axes.set_yscale("log" if log_y else "linear")
    for axis in (*([axes.xaxis] if log_x else []), *([axes.yaxis] if log_y else [])):
        axis.set_major_formatter(_AsTyped())
        axis.set_minor_formatter(_AsTyped(labelOnlyBase=False))
    if few and not log_x:
        axes.set_xticks(x)
    elif not log_x and all(float(value).is_integer() for value in x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if mark is not None:
        axes.axvline(mark, color=INK, alpha=0.5, linestyle="--", linewidth=1)
    if len(series) > 1:
        legend = axes.legend(fontsize="small", frameon=False, labelcolor=INK)
        legend.set_zorder(3)
    return svg(figure, name)
