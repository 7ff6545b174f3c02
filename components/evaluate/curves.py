"""Plots as SVG markup that a page takes in: training curves, the reliability diagram, risk against coverage.

Legend: N images, B bins.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.evaluate.proportions import share
from components.evaluate.selective import RiskCoverage
from components.interchange.plots import INK, LOSS, SCORE, axes_of, svg
from components.interchange.scoring import Labels, Logits, confidences, hits


def training_curves(history: Sequence[dict[str, Any]]) -> list[str]:
    """Train loss and val top1 by epoch, as two SVG drawings."""
    epochs = [record["epoch"] for record in history]
    drawings = []
    for key, label, colour in (("train_loss", "train loss", LOSS), ("val_top1", "val top1", SCORE)):
        figure, axes = axes_of("epoch", label)
        axes.plot(epochs, [record[key] for record in history], color=colour, marker="o", linewidth=2)
        axes.set_xticks(epochs if len(epochs) <= 12 else epochs[:: -(-len(epochs) // 12)])
        drawings.append(svg(figure, key))
    return drawings


def reliability_diagram(logits_NC: Logits, labels_N: Labels, bins: int, title: str) -> str:
    """Accuracy against confidence in the bins of the ECE, as SVG; on the diagonal confidence can be believed.

    A thin line is the interval of a bin's accuracy: a bin of one image says little.
    """
    confidences_N, hits_N = confidences(logits_NC), hits(logits_NC, labels_N)
    edges = np.linspace(0, 1, bins + 1)
    bins_N = np.searchsorted(edges[1:], confidences_N, side="left")
    occupied = np.unique(bins_N)
    figure, axes = axes_of("confidence", "accuracy")
    axes.plot([0, 1], [0, 1], color=INK, alpha=0.5, linestyle="--", linewidth=1)
    found = [share(hits_N[bins_N == number]) for number in occupied]
    axes.bar(edges[occupied], [one.value for one in found], width=1 / bins, align="edge", color=SCORE, alpha=0.75)
    lows, highs = [one.low for one in found], [one.high for one in found]
    axes.vlines(edges[occupied] + 0.5 / bins, lows, highs, color=INK, alpha=0.7, linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_title(title, color=INK, fontsize="medium")
    return svg(figure, f"reliability-{title}")


def risk_coverage_curve(curves: Mapping[str, RiskCoverage], wanted: float, threshold: float | None) -> str:
    """Share of wrong answers against the share of images answered, a line a split, as SVG.

    The dashed line is the risk that is wanted; the dots are where the threshold cuts.
    """
    figure, axes = axes_of("share of images answered", "share of answers wrong")
    for (name, curve), colour in zip(curves.items(), (LOSS, SCORE), strict=False):
        axes.plot(curve.coverage_K, curve.risk_K, color=colour, linewidth=2, label=name)
        answered = 0 if threshold is None else int((curve.confidences_K >= threshold).sum())
        if answered:
            axes.plot(curve.coverage_K[answered - 1], curve.risk_K[answered - 1], "o", color=colour)
    axes.axhline(1 - wanted, color=INK, alpha=0.5, linestyle="--", linewidth=1)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK)
    return svg(figure, "risk-coverage")
