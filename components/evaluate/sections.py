"""What the evaluation's HTML page shows, from rows and details alone."""

from collections.abc import Callable, Sequence
from typing import Any

from components.evaluate.scores import BY_CLASS, OVERALL
from components.interchange.errors import listed
from components.interchange.figures import gains_of, key_figure, shown, tone
from components.interchange.page import Bar, Bars, Cell, KeyFigure, Plot, Section, Table, Text
from components.interchange.report import CONFIDENCE, Row

WHO = ("baseline", "candidate", "champion")
MOST_CLASSES_SHOWN = 20
MOST_PAIRS_SHOWN = 20
SMALLEST_P_SHOWN = 0.001
MOST_SLICES_SHOWN = 40
Find = Callable[[str, str, str], Row | None]


def finder(rows: Sequence[Row]) -> Find:
    """Look rows up by name, of and split."""
    known = {(row.name, row.of, row.split): row for row in rows}
    return lambda name, of, split: known.get((name, of, split))


def p_value(row: Row | None) -> str:
    """`0.031`, `< 0.001`; a dash where there is none."""
    if row is None or row.value is None:
        return "–"
    p = float(row.value)
    return f"{p:.3f}" if p >= SMALLEST_P_SHOWN else f"< {SMALLEST_P_SHOWN}"


def score_section(rows: Sequence[Row], selected: str) -> Section:
    """Scores of everyone on test and val, and the paired differences."""
    find = finder(rows)
    present = [of for of in WHO if find("top1", of, "test")]
    tables = []
    for split in ("test", "val"):
        counts = sorted({row.n for row in rows if row.split == split and row.name == "top1" and row.n is not None})
        alone = " The champion: of the classes that both know alone, which is easier." if len(counts) > 1 else ""
        tables.append(
            Table(
                header=[split, *present],
                rows=[
                    [name, *(Cell(shown(find(name, of, split)), strong=of == selected) for of in present)]
                    for name in OVERALL
                    if any(find(name, of, split) for of in present)
                ],
                caption=f"On {split}, n = {' or '.join(f'{count:,}' for count in counts)} images.{alone}",
            )
        )
    differences = [row for row in rows if row.name == "top1_difference"]
    if differences:
        tables.append(
            Table(
                header=["top1 difference", "split", "n", "paired", "McNemar p"],
                rows=[
                    [
                        row.of.replace("-", " − "),
                        row.split,
                        f"{row.n:,}",
                        shown(row, "+"),
                        p_value(find("mcnemar_p", row.of, row.split)),
                    ]
                    for row in differences
                ],
                caption="Both classifiers on the same images. p: how often chance alone would part them this far.",
            )
        )
    return Section("Scores", tables)


def class_section(rows: Sequence[Row], classes: Sequence[str], of: str) -> Section:
    """Precision, recall and F1 of every class on test."""
    find = finder(rows)
    table = Table(
        header=["class", "n", *BY_CLASS],
        rows=[
            [
                name,
                f"{row.n:,}" if (row := find("recall", f"{of}/{name}", "test")) else "–",
                *(shown(find(score, f"{of}/{name}", "test")) for score in BY_CLASS),
            ]
            for name in classes
        ],
        caption=f"The {of} on test; n are the images of the class.",
    )
    return Section("By class", [table], folded=True, hint=f"{len(classes)} classes")


def confusion_section(confusion: dict[str, list[list[int]]], classes: dict[str, Sequence[str]]) -> Section:
    """A matrix each where it can be read, else the pairs that are most often confused. `classes` are by owner too.

    `confusion` has the matrices' cells, `[true class, predicted class, images]`.
    """
    tables = [
        _matrix(cells, classes[of], of) if len(classes[of]) <= MOST_CLASSES_SHOWN else _pairs(cells, classes[of], of)
        for of, cells in confusion.items()
    ]
    return Section("Confusion on test", tables, folded=True, hint="what is taken for what")


def _matrix(cells: list[list[int]], classes: Sequence[str], of: str) -> Table:
    counts = {(truth, predicted): images for truth, predicted, images in cells}
    rows: list[list[Cell | str]] = []
    for truth, name in enumerate(classes):
        row = [counts.get((truth, predicted), 0) for predicted in range(len(classes))]
        rows.append([name, *(Cell(f"{images:,}", shade=images / max(sum(row), 1)) for images in row)])
    return Table(["true \\ predicted", *classes], rows, f"The {of}: a row a true class, a column a predicted class.")


def _pairs(cells: list[list[int]], classes: Sequence[str], of: str) -> Table:
    pairs = sorted((-images, truth, predicted) for truth, predicted, images in cells if truth != predicted)
    rows = [
        [classes[truth], classes[predicted], f"{-images:,}"] for images, truth, predicted in pairs[:MOST_PAIRS_SHOWN]
    ]
    return Table(
        ["true", "predicted", "images"],
        rows,
        f"The {of}: the {len(rows)} pairs most often confused, of {len(pairs):,}; all of them are in report.json.",
    )


def calibration_section(rows: Sequence[Row], of: str, how: str, diagrams: Plot) -> Section:
    """How far confidence can be believed, before and after the temperature; one drawing where none ships."""
    find = finder(rows)
    table = Table(
        header=["test", "before", "after"],
        rows=[[name, shown(find(name, of, "test")), shown(find(name, "selected", "test"))] for name in ("ece", "nll")],
        caption=f"The {of}; it ships with what stands under after.",
    )
    hint = f"ece {shown(find('ece', 'selected', 'test'))}"
    tables = [table] if len(diagrams.svgs) > 1 else []
    return Section("Calibration", [Text(how), *tables, diagrams], folded=True, hint=hint)


def champion_section(champion: dict[str, Any], rows: Sequence[Row]) -> Section:
    """What the comparison with the champion rests on."""
    shared, added, removed = (champion[f"{kind}_classes"] for kind in ("shared", "added", "removed"))
    lines = [f"Champion {champion['digest'][:12]}. Its pixels: {champion['prepared']}."]
    if "leaks" in champion:
        leaks = champion["leaks"]
        lines.append(
            f"Which test images the champion was trained on was {leaks['how']}."
            if not leaks["compared"]
            else f"The champion was trained on {leaks['exact']:,} of the test images and on near-duplicates of "
            f"{leaks['near']:,} more; compared were {leaks['how']}. Adjusted figures leave them out, and the gate goes "
            "by those."
        )
    if added or removed:
        lines.append(
            f"Compared on the {len(shared)} shared classes: only their images, only their logits. "
            f"New: {listed(added) or 'none'}. Gone: {listed(removed) or 'none'}."
        )
    return Section("Champion", [*(Text(line) for line in lines), *_adjusted(rows)])


def _adjusted(rows: Sequence[Row]) -> list[Table]:
    """Against the champion with and without the test images that it was trained on."""
    find, of = finder(rows), "selected-champion"
    if find("top1_difference_adjusted", of, "test") is None:
        return []
    table = Table(
        header=["selected − champion on test", "n", "top1 difference", "McNemar p"],
        rows=[
            [
                label,
                f"{row.n:,}" if (row := find(f"top1_difference{suffix}", of, "test")) else "–",
                shown(row, "+"),
                p_value(find(f"mcnemar_p{suffix}", of, "test")),
            ]
            for label, suffix in (("all images", ""), ("adjusted for leaks", "_adjusted"))
        ],
    )
    return [table]


def method_section(num_resamples: int, seed: int, bins: int, counts: dict[str, int], dataset_digest: str) -> Section:
    """How far the numbers can be trusted."""
    sizes = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    lines = [
        f"Images: {sizes}. Dataset {dataset_digest[:12]}. Everyone saw the same images, each cropped at its centre.",
        f"Brackets are {CONFIDENCE:.0%} intervals over images: of shares (top1, top5, recall, precision, f1) by "
        f"Wilson, of the others by percentile bootstrap ({num_resamples:,} resamples, seed {seed}); differences: "
        "both classifiers on the same resamples; of recall by Tango, of top1 by the wider of both, since a "
        "bootstrap of few images promises too much; of balanced_accuracy from those of its classes (MOVER) or "
        "Wilson's for as many images, the wider; of macro_f1 by the wider of such a one and a bootstrap's. The "
        "intervals tell of the images drawn, not of other seeds or other training runs.",
        f"ece: {bins} equal-width bins; with few images it comes out too large, however right confidence is. Its "
        "interval begins at what chance does not explain, and ends where a bootstrap's does, moved down by how far its "
        "resamples lie above the figure. nll in nats.",
        "Baseline and candidate are scored as trained, the champion as it answers in production: with its temperature.",
        "The epoch and the penalty were chosen on val, so val scores flatter; test only vetoes.",
    ]
    return Section("How far to trust these numbers", [Text(line) for line in lines], folded=True, hint="the method")


def slice_section(rows: Sequence[Row], facts: dict[str, Any], overall: Row | None) -> Section:
    """Top-1 by parts of the test set, the worst marked."""
    parts = [row for row in rows if row.name == "slice_top1"]
    if not parts:
        return Section("By part of the test set", [Text("There is nothing that the images could be told apart by.")])
    if len(parts) > MOST_SLICES_SHOWN:
        lowest = {row.of for row in sorted(parts, key=lambda row: row.high or 0)[:MOST_SLICES_SHOWN]}
        parts = [row for row in parts if row.of in lowest]
    bars = [
        Bar(
            row.of,
            *_bounds(row),
            text=f"{shown(row)}  n {row.n:,}",
            strong=facts["stands_out"] and row.of == facts["worst"],
        )
        for row in parts
    ]
    start = max(0.0, min(bar.low for bar in bars) - 0.05)
    mark = float(overall.value) if overall is not None and overall.value is not None else None
    caption = (
        f"Top-1 with its interval (Wilson) of {len(bars)} of {facts['looked_at']} parts; the scale begins at "
        f"{start:.2f}, the line is the whole test set. Parts under {facts['least_images']} images are not named "
        "the worst."
    )
    left_out = [Text(f"Too many values to be parted by: {', '.join(facts['left_out'])}.")] if facts["left_out"] else []
    return Section("By part of the test set", [Text(worst_slice(facts)), Bars(bars, caption, mark, start), *left_out])


def _bounds(row: Row) -> tuple[float, float, float]:
    value, low, high = (float(number or 0) for number in (row.value, row.low, row.high))
    return value, low, high


def worst_slice(facts: dict[str, Any]) -> str:
    """The worst part in a sentence, and whether chance explains it."""
    if facts["worst"] is None:
        return f"No part has {facts['least_images']} images: none can be named the worst."
    chance = "is worse than the rest by more than chance explains" if facts["stands_out"] else "may be so by chance"
    return f"The worst part is {facts['worst']}: it {chance}, with {facts['looked_at']} parts looked at."


def threshold_section(rows: Sequence[Row], how: str, curve: Plot) -> Section:
    """What answering only when sure would buy."""
    find = finder(rows)
    table = Table(
        header=["at the threshold", "answered", "of these right"],
        rows=[
            [split, shown(find("coverage", "selected", split)), shown(find("answered_top1", "selected", split))]
            for split in ("val", "test")
        ],
    )
    known = find("coverage", "selected", "test") is not None
    hint = f"{shown(find('coverage', 'selected', 'test'))} answered" if known else "no threshold"
    return Section("Answering only when sure", [Text(how), *([table] if known else []), curve], folded=True, hint=hint)


def key_figures(rows: Sequence[Row], details: dict[str, Any], of: str) -> list[KeyFigure]:
    """The few figures to remember."""
    find = finder(rows)
    figures = key_figure("test top1", find("top1", of, "test"))
    for whose, row in gains_of(find).items():
        figures += key_figure(f"gain, {whose}", row, "+", tone(row))
    figures += key_figure("calibration error", find("ece", "selected", "test"))
    name, stands_out = details["slices"]["worst"], details["slices"]["stands_out"]
    worst = find("slice_top1", name or "", "test")
    return figures + key_figure(f"worst part: {name}", worst, is_tone="bad" if stands_out else "plain")
