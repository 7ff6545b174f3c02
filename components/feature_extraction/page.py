"""The baseline as one HTML page: which penalty val chose, how it scores, what stayed as it was."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.feature_extraction.drift import FeatureDrift
from components.interchange.page import Cell, KeyFigure, Notes, Plot, Section, Table, Text, Tone, render
from components.interchange.plots import lines

SHORT = 12
COLUMNS = (("train_top1", ".3f"), ("val_top1", ".3f"), ("train_nll", ".3f"), ("val_nll", ".3f"), ("iterations", "d"))


def baseline_page(
    details: Mapping[str, Any], backbone: str, best: Mapping[str, Any], num_val: int, drift: FeatureDrift | None
) -> str:
    """The page, from the report's details; `best` is the record of the penalty that val chose."""
    history, frozen = details["history"], details["frozen"]
    expected = details["expectation"]
    return render(
        "Baseline",
        f"A linear head on the frozen features of {backbone}, fitted to its optimum. Fine-tuning must beat it by more "
        "than the noise, or it ships.",
        [
            *([Section("Expected", [Notes([("unsure", expected)])])] if expected else []),
            _penalties(history, best),
            *_drift(drift, details["features_not_compared"]),
            _frozen(frozen),
        ],
        figures=[
            KeyFigure("val top1", f"{best['val_top1']:.3f}", f"n {num_val:,}"),
            KeyFigure("val nll", f"{best['val_nll']:.3f}", "nats"),
            KeyFigure("penalty", f"{best['l2']:g}", f"of {len(history)} tried"),
            KeyFigure("training images", f"{details['num_train']:,}"),
        ],
    )


def _penalties(history: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> Section:
    by_l2 = sorted(history, key=lambda record: record["l2"])
    tried = [record["l2"] for record in by_l2]
    drawings = [
        lines(
            score,
            "l2",
            name,
            tried,
            {split: [record[f"{split}_{score}"] for record in by_l2] for split in ("train", "val")},
            log_x=True,
            mark=best["l2"],
        )
        for score, name in (("top1", "top1"), ("nll", "nll, nats"))
    ]
    table = Table(
        ["l2", *(name.replace("_", " ") for name, _ in COLUMNS)],
        [
            [
                Cell(f"{record['l2']:g}", strong=record is best),
                *(Cell(f"{record[name]:{form}}", strong=record is best) for name, form in COLUMNS),
            ]
            for record in by_l2
        ],
    )
    caption = "The dashed line marks the penalty with the highest val top1, of equals the lowest nll."
    return Section("The path of penalties", [Plot(drawings, caption), table])


def _drift(drift: FeatureDrift | None, not_compared: Sequence[str]) -> list[Section]:
    """How far the features moved since the champion, or why that cannot be told; nothing without a champion."""
    if drift is None:
        words = f"Not compared with the champion's features, which are of another origin: {', '.join(not_compared)}."
        return [Section("Since the champion", [Text(words)])] if not_compared else []
    told = (
        f"The features moved by {drift.distance:.3f} (a Fréchet distance, in units of the scatter of the champion's "
        f"training images); a warning comes above {drift.limit:.3f}."
    )
    tone: Tone = "bad" if drift.warning else "good"
    return [Section("Since the champion", [Notes([(tone, drift.warning or told)])])]


def _frozen(frozen: Mapping[str, str]) -> Section:
    same = frozen["digest_before"] == frozen["digest_after"]
    words = (
        f"sha256 of the backbone, BatchNorm's statistics included: {frozen['digest_before'][:SHORT]} before, "
        f"{frozen['digest_after'][:SHORT]} after: {'unchanged' if same else 'CHANGED'}."
    )
    return Section(
        "Frozen", [Text("Every image passed the backbone once."), Notes([("good" if same else "bad", words)])]
    )
