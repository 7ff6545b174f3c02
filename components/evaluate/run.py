"""Evaluate: the order of work. Everyone sees the same images; val chooses, test may only veto."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from components.evaluate import advice, contest, selective, slices, temperature
from components.evaluate.contest import Entrant
from components.evaluate.details import details
from components.evaluate.explain import heat_maps, side_by_side
from components.evaluate.mistakes import most_confident
from components.evaluate.page import evaluation_page
from components.evaluate.predictions import LOOKED_AT, check_stored_size, classifier_logits, open_splits
from components.evaluate.scores import Intervals, calibration_rows
from components.evaluate.spec import Evaluate
from components.interchange import classifier, scoring
from components.interchange.artifact import digest
from components.interchange.champion import opponent as champion_for
from components.interchange.dataset import Dataset, Split, SplitName, open_dataset
from components.interchange.errors import BadInput
from components.interchange.feature_statistics import carry_feature_statistics
from components.interchange.inference import choose_device
from components.interchange.memory import keep_freed_memory
from components.interchange.pixels_to_logits import PixelsToLogits
from components.interchange.report import ENTRANTS, write_report
from components.interchange.step import RunContext, given_parameters

log = logging.getLogger("graft")


def run(spec: Evaluate, context: RunContext) -> dict[str, object]:
    """Score, choose, compare with the champion, write the winner and the report."""
    started = time.monotonic()
    folders = given(spec)
    device = choose_device(spec.device)
    log.info("device=%s", device)
    if device.type == "cpu":
        keep_freed_memory()
    dataset = open_dataset(spec.dataset)
    splits = open_splits(dataset)
    labels = {name: split.labels_N for name, split in splits.items()}
    opponent = opposing(context, folders)  # Before all scoring: it may be damaged.
    entrants = {of: enter(of, folder, dataset, splits, spec.batch_size, device) for of, folder in folders.items()}

    intervals = Intervals(spec.bootstrap_samples, spec.seed, spec.ece_bins)
    rows = [row for entrant in entrants.values() for row in contest.entrant_rows(entrant, labels, intervals)]
    selection, differences = contest.choose(entrants, labels, intervals)
    winner = entrants[ENTRANTS[selection.selected]]
    confused = {
        of: scoring.confusion_cells(labels["test"], entrant.logits["test"].argmax(axis=1))
        for of, entrant in entrants.items()
    }

    duel = None
    if opponent is not None:
        duel = contest.against_champion(
            opponent, winner, dataset, splits, intervals, spec.batch_size, spec.max_near_bits
        )
        rows += duel.rows
        confused |= duel.confused

    fitted = temperature.choose(winner.logits["val"], labels["val"], winner.logits["test"], labels["test"], intervals)
    calibrated = winner.divided_by(fitted.temperature)
    rows += fitted.rows + calibration_rows(
        calibrated.logits["test"], labels["test"], fitted.temperature, len(labels["val"]), intervals
    )
    chosen = selective.choose(
        calibrated.logits["val"], labels["val"], calibrated.logits["test"], labels["test"], spec.wanted_precision
    )
    rows += chosen.rows
    temperature.write_calibrated(folders[winner.of], spec.selected, winner.card, fitted.temperature, chosen.threshold)

    if "baseline" in folders:
        carry_feature_statistics(folders["baseline"], spec.selected)

    columns = slices.columns_of(dataset.samples(), splits["test"].ids)
    parts, left_out = slices.sliced(columns, scoring.hits(winner.logits["test"], labels["test"]))
    rows += slices.slice_rows(parts)
    mistakes = most_confident(
        calibrated.logits["test"], labels["test"], splits["test"].ids, dataset.classes, spec.shown_mistakes
    )
    words = {"calibration": fitted.how, "threshold": chosen.how}
    warnings = advice.of_classes(rows, winner.of)
    for warning in warnings:
        log.warning("warning: %s", warning)
    told = details(
        dataset, selection, digest(spec.selected), words, warnings, confused, mistakes, parts, left_out, duel
    )
    pictures = explained(folders[winner.of], splits["test"], [mistake.index for mistake in mistakes], device)
    html = evaluation_page(
        rows + differences, told, winner, calibrated, entrants, splits, pictures, given_parameters(spec)
    )
    write_report(spec.report, spec, rows + differences, told, html)
    log.info("selected=%s because=%s", selection.selected, selection.because)
    return {"device": str(device), "seconds_in_step": time.monotonic() - started}


def enter(
    of: str,
    folder: Path,
    dataset: Dataset,
    splits: Mapping[SplitName, Split],
    batch_size: int,
    device: torch.device,
) -> Entrant:
    """A classifier with its logits on val and test; BadInput when it was not made for such a dataset."""
    model, card = classifier.load(folder)
    classifier.check_classes(card, dataset.manifest)
    check_stored_size(card, dataset, of)
    logits = {name: classifier_logits(model, card, splits[name], batch_size, device, of) for name in LOOKED_AT}
    return Entrant(of, card, logits)


def explained(folder: Path, test: Split, indices: Sequence[int], device: torch.device) -> list[NDArray[np.uint8]]:
    """The model's input for these test images, and beside each where the classifier looked: uint8 pictures."""
    if not indices:
        return []
    model, card = classifier.load(folder)
    pixels_NHWC = test.center_crops(indices, card.preprocessing.crop_px)
    heat_NHW = heat_maps(PixelsToLogits(model, card.preprocessing), pixels_NHWC, device)
    return [side_by_side(pixels_HWC, heat_HW) for pixels_HWC, heat_HW in zip(pixels_NHWC, heat_NHW, strict=True)]


def given(spec: Evaluate) -> dict[str, Path]:
    """The classifiers that were given, by whose they are; BadInput when there is none."""
    both = {"baseline": spec.baseline, "candidate": spec.candidate}
    folders = {of: folder for of, folder in both.items() if folder is not None}
    if not folders:
        raise BadInput("no classifier was given: expected --baseline, --candidate or both.")
    return folders


def opposing(context: RunContext, folders: dict[str, Path]) -> contest.Opponent | None:
    """The champion to compare with; without a store there is none."""
    if context.store is None:
        return None
    champion = champion_for(context.store, context.model_name, [digest(folder) for folder in folders.values()])
    return None if champion is None else contest.opened(champion)
