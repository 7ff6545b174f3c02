"""The evaluation as one HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluate import sections
from components.evaluate.contest import Entrant
from components.evaluate.curves import reliability_diagram, training_curves
from components.interchange.dataset import SPLITS, Split, SplitName
from components.interchange.page import Gallery, Picture, Plot, Section, Text, picture_uri, render
from components.interchange.report import Row


def evaluation_page(
    rows: Sequence[Row],
    details: Mapping[str, Any],
    winner: Entrant,
    calibrated: Entrant,
    entrants: Mapping[str, Entrant],
    splits: Mapping[SplitName, Split],
    parameters: Mapping[str, Any],
) -> str:
    """The page: the choice, scores, classes, confusion, calibration, training, mistakes, and how far to trust it."""
    champion, bins = details["champion"], parameters["ece_bins"]
    classes = dict.fromkeys(details["confusion"], details["classes"])
    if champion is not None:
        classes["champion"] = champion["shared_classes"]
    test = splits["test"]
    diagrams = Plot(
        [
            reliability_diagram(entrant.logits["test"], test.labels_N, bins, name)
            for name, entrant in (("before", winner), ("after", calibrated))
        ],
        f"The {winner.of} on test, n = {len(test):,}, before and after division by its temperature: on the dashed "
        "line, confidence is accuracy.",
    )
    counts: dict[str, int] = {name: details[f"num_{name}"] for name in SPLITS}
    return render(
        "Evaluation",
        f"Selected: {details['selected'].replace('_', ' ')}. {_sentence(details['selected_because'])}",
        [
            *([Section("Expected", [Text(_sentence(details["expectation"]))])] if details["expectation"] else []),
            sections.score_section(rows, winner.of),
            *([sections.champion_section(champion)] if champion is not None else []),
            sections.class_section(rows, winner.classes, winner.of),
            sections.confusion_section(details["confusion"], classes),
            sections.calibration_section(rows, winner.of, _sentence(details["calibration"]), diagrams),
            *_training(entrants),
            _mistakes(details["mistakes"], test, winner.of),
            sections.method_section(
                parameters["bootstrap_samples"], parameters["seed"], bins, counts, details["dataset_digest"]
            ),
        ],
    )


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _training(entrants: Mapping[str, Entrant]) -> list[Section]:
    if "candidate" not in entrants or not entrants["candidate"].card.history:
        return []
    plot = Plot(
        training_curves(entrants["candidate"].card.history), "Fine-tuning, epoch by epoch; the best on val was kept."
    )
    return [Section("Training", [plot])]


def _mistakes(mistakes: Sequence[Mapping[str, Any]], test: Split, of: str) -> Section:
    if not mistakes:
        return Section("Most confident mistakes", [Text("None to show.")])
    pictures = [
        Picture(
            picture_uri(test.images[mistake["index"]]),
            [
                f"{mistake['predicted']} ({mistake['confidence']:.0%})",
                f"labelled {mistake['label']}",
                mistake["path"],
            ],
        )
        for mistake in mistakes
    ]
    words = f"Test images that the {of} gets wrong, the most confident first. Some may be labelled wrongly."
    return Section("Most confident mistakes", [Text(words), Gallery(pictures)])
