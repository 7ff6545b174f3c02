"""The evaluation as one HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluate import sections
from components.evaluate.contest import Entrant
from components.evaluate.curves import reliability_diagram, risk_coverage_curve, training_curves
from components.evaluate.selective import risk_coverage
from components.interchange.dataset import SPLITS, Split, SplitName
from components.interchange.page import Gallery, Notes, Picture, Plot, Section, Text, picture_uri, render, sentence
from components.interchange.report import Row


def evaluation_page(
    rows: Sequence[Row],
    details: dict[str, Any],
    winner: Entrant,
    calibrated: Entrant,
    entrants: Mapping[str, Entrant],
    splits: Mapping[SplitName, Split],
    pictures: Sequence[NDArray[np.uint8]],
    parameters: Mapping[str, Any],
) -> str:
    """The page: choice and key figures, scores, champion, parts, mistakes; folded away, everything that they rest on.

    `pictures` are those of the mistakes, in their order.
    """
    champion, bins = details["champion"], parameters["ece_bins"]
    classes = dict.fromkeys(details["confusion"], details["classes"])
    if champion is not None:
        classes["champion"] = champion["shared_classes"]
    test = splits["test"]
    counts: dict[str, int] = {name: details[f"num_{name}"] for name in SPLITS}
    overall = sections.finder(rows)("top1", winner.of, "test")
    return render(
        "Evaluation",
        f"Selected: {details['selected'].replace('_', ' ')}. {sentence(details['selected_because'])}",
        [
            *([Section("Expected", [Text(sentence(details["expectation"]))])] if details["expectation"] else []),
            *([_warnings(details["warnings"])] if details["warnings"] else []),
            sections.score_section(rows, winner.of),
            *([sections.champion_section(champion, rows)] if champion is not None else []),
            sections.slice_section(rows, details["slices"], overall),
            _mistakes(details["mistakes"], pictures, winner.of),
            sections.class_section(rows, winner.classes, winner.of),
            sections.confusion_section(details["confusion"], classes),
            sections.calibration_section(
                rows, winner.of, sentence(details["calibration"]), _diagrams(winner, calibrated, test, bins)
            ),
            sections.threshold_section(
                rows, sentence(details["threshold"]), _curve(calibrated, splits, rows, parameters)
            ),
            *_training(entrants),
            sections.method_section(
                parameters["bootstrap_samples"], parameters["seed"], bins, counts, details["dataset_digest"]
            ),
        ],
        figures=sections.key_figures(rows, details, winner.of),
    )


def _warnings(warnings: Sequence[str]) -> Section:
    return Section("Be wary of", [Notes([("unsure", sentence(words)) for words in warnings])])


def _diagrams(winner: Entrant, calibrated: Entrant, test: Split, bins: int) -> Plot:
    """Before and after the temperature; the one that there is where the logits stay as they are."""
    names = {"before": winner, "after": calibrated}
    when = ", before and after division by its temperature"
    if np.array_equal(winner.logits["test"], calibrated.logits["test"]):
        names, when = {"as it ships": calibrated}, ""
    return Plot(
        [reliability_diagram(one.logits["test"], test.labels_N, bins, name) for name, one in names.items()],
        f"The {winner.of} on test, n = {len(test):,}{when}: on the dashed line, confidence is accuracy. "
        "Thin lines are 95% intervals (Wilson) of the images in each bin.",
    )


def _curve(
    calibrated: Entrant, splits: Mapping[SplitName, Split], rows: Sequence[Row], parameters: Mapping[str, Any]
) -> Plot:
    wanted = parameters["wanted_precision"]
    found = sections.finder(rows)("threshold", "selected", "val")
    threshold = float(found.value) if found is not None and found.value is not None else None
    curves = {str(name): risk_coverage(calibrated.logits[name], split.labels_N) for name, split in splits.items()}
    return Plot(
        [risk_coverage_curve(curves, wanted, threshold)],
        "The most confident images first: how many of the answers are wrong when so many are given. The dashed line "
        f"is the wanted precision of {wanted:g}{', the dots are the threshold' if threshold is not None else ''}.",
    )


def _training(entrants: Mapping[str, Entrant]) -> list[Section]:
    if "candidate" not in entrants or not entrants["candidate"].card.history:
        return []
    plot = Plot(
        training_curves(entrants["candidate"].card.history), "Fine-tuning, epoch by epoch; the best on val was kept."
    )
    return [Section("Training", [plot], folded=True, hint="loss and val top1 by epoch")]


def _mistakes(mistakes: Sequence[Mapping[str, Any]], pictures: Sequence[NDArray[np.uint8]], of: str) -> Section:
    if not mistakes:
        return Section("Most confident mistakes", [Text("None to show.")])
    shown = [
        Picture(
            picture_uri(picture_HWC, longest_px=384),
            [
                f"{mistake['predicted']} ({mistake['confidence']:.0%})",
                f"labelled {mistake['label']}",
                mistake["path"],
            ],
        )
        for mistake, picture_HWC in zip(mistakes, pictures, strict=True)
    ]
    words = (
        f"Test images that the {of} gets wrong, the most confident first. Some may be labelled wrongly. The right half "
        "of each picture shows what spoke for the wrong answer: the brighter, the more."
    )
    return Section("Most confident mistakes", [Text(words), Gallery(shown, wide=True)])
