"""The sections of a run's page, each from the report of one step, which may be missing."""

from collections.abc import Mapping

from components.interchange.errors import counted
from components.interchange.figures import ASKED, FRESH, by_owner, gains_of, number, percent, shown
from components.interchange.page import Bar, Bars, Block, Cell, Notes, Section, Table, Text, Tone, sentence
from components.interchange.report import ENTRANTS, Report, Row

NAMES = {
    "baseline": "baseline (frozen backbone)",
    "candidate": "candidate (fine-tuned)",
    "champion": "champion (in service)",
}
SPLITS = ("train", "val", "test")
SCORES = ("top1", "top5", "balanced_accuracy", "macro_f1", "ece", "nll")
MOST_SLICES, MOST_CLASSES = 12, 20
PARITY = {
    "flips": "flips",
    "max_abs_diff": "logit difference",
    "max_rel_diff": "of the largest logit",
    "ece_difference": "ece change",
    "nll_difference": "nll change",
}
Reports = Mapping[str, Report]


def top1_of(evaluate: Report) -> dict[str, Row]:
    """The share of test images that each contender gets right."""
    found = {who: evaluate.row("top1", who, "test") for who in ("baseline", "champion", "candidate")}
    return {who: row for who, row in found.items() if row is not None and row.value is not None}


def quality(evaluate: Report | None) -> list[Section]:
    """Who gets how many test images right, and how many of each class."""
    if evaluate is None:
        return []
    selected, found = ENTRANTS[evaluate.details["selected"]], top1_of(evaluate)
    bars = [_bar(NAMES[who], row) for who, row in found.items()]
    fewer = len({row.n for row in found.values()}) > 1
    alone = " The champion: of the classes that both know alone, which is easier." if fewer else ""
    of_classes = {name: evaluate.row("recall", f"{selected}/{name}", "test") for name in evaluate.details["classes"]}
    known = {name: row for name, row in of_classes.items() if row is not None and row.value is not None}
    lowest = sorted(known.items(), key=lambda pair: float(pair[1].value or 0))[:MOST_CLASSES]
    classes = [_bar(name, row) for name, row in lowest]
    shown_classes = "" if len(known) <= MOST_CLASSES else f" The {MOST_CLASSES} lowest of {len(known)}."
    words = f"How much of each class the {selected} finds, the lowest first.{shown_classes}"
    start = max(0.0, min([bar.low for bar in bars + classes], default=0.0) - 0.05)
    blocks = (
        [Bars(bars, f"Test images that each gets right, in per cent, with 95 % intervals.{alone}", start=start)]
        if bars
        else []
    )
    return [Section("How good it is", [*blocks, *([Bars(classes, words, start=start)] if classes else [])])]


def _bar(label: str, row: Row, strong: bool = False) -> Bar:
    value = float(row.value or 0)
    low, high = (value if bound is None else bound for bound in (row.low, row.high))
    told = percent(value) if row.low is None else f"{percent(value)} [{percent(low)}, {percent(high)}]"
    return Bar(label, value, low, high, f"{told}  n {row.n:,}" if row.n is not None else told, strong)


def slices(evaluate: Report | None) -> list[Section]:
    """The parts of the test set with the fewest right answers, where evaluate looked at any."""
    rows = [row for row in evaluate.rows if row.name == "slice_top1" and row.high is not None] if evaluate else []
    if evaluate is None or not rows:
        return []
    facts = evaluate.details["slices"]
    lowest = sorted(rows, key=lambda row: row.high or 0)[:MOST_SLICES]
    bars = [_bar(row.of, row, strong=row.of == facts["worst"] and facts["stands_out"]) for row in lowest]
    chance = "more than chance explains" if facts["stands_out"] else "what chance may explain"
    hint = f"worst: {facts['worst']}, {chance}" if facts["worst"] else "no part is large enough"
    caption = f"Per cent of the test images right: the {len(bars)} lowest of {facts['looked_at']} parts."
    start = max(0.0, min(bar.low for bar in bars) - 0.05)
    return [Section("By part of the test set", [Bars(bars, caption, start=start)], folded=True, hint=hint)]


def scores(evaluate: Report | None) -> list[Section]:
    """Every score of every contender on test, the paired gains, what was decided on val, and the lowest classes."""
    if evaluate is None:
        return []
    details = evaluate.details
    selected = ENTRANTS[details["selected"]]
    present = [of for of in ("baseline", "candidate", "champion") if evaluate.row("top1", of, "test")]
    table = Table(
        ["test", *present],
        [
            [name, *(Cell(shown(evaluate.row(name, of, "test")), strong=of == selected) for of in present)]
            for name in SCORES
            if any(evaluate.row(name, of, "test") for of in present)
        ],
        "Brackets are 95 % intervals.",
    )
    gains = [[whose, number(row.n), shown(row, "+")] for whose, row in gains_of(evaluate.row).items()]
    paired = [Table(["paired top1 gain", "n", ""], gains, "Both on the same images.")] if gains else []
    words = [
        sentence(details["selected_because"]),
        *(sentence(details[name]) for name in ("calibration", "threshold") if name in details),
    ]
    return [Section("Evaluation", [table, *paired, *(Text(line) for line in words), *_by_class(evaluate)], folded=True)]


def _by_class(evaluate: Report) -> list[Block]:
    of, classes = ENTRANTS[evaluate.details["selected"]], evaluate.details["classes"]
    recalls = {name: evaluate.row("recall", f"{of}/{name}", "test") for name in classes}
    lowest = sorted(recalls.items(), key=lambda pair: float(pair[1].value or 0) if pair[1] else 0)[:MOST_CLASSES]
    rows = [
        [name, number(row.n if row else None), shown(row), shown(evaluate.row("precision", f"{of}/{name}", "test"))]
        for name, row in lowest
    ]
    return [Table(["class", "n", "recall", "precision"], rows, f"The {of} on test, the lowest recall first.")]


def data(ingest: Report | None, features: Report | None) -> list[Section]:
    """Images by split and class, what was left out and why, and the drift since the champion."""
    if ingest is None:
        return []
    images = {row.of: row.value for row in ingest.rows if row.name == "images"}
    classes = [of.removeprefix("train/") for of in images if of.startswith("train/")]
    rows = [[name, *(number(images.get(f"{split}/{name}")) for split in SPLITS)] for name in classes[:MOST_CLASSES]]
    total: list[Cell | str] = ["all", *(Cell(number(images.get(split)), strong=True) for split in SPLITS)]
    caption = (
        "Images by class and split." if len(classes) <= MOST_CLASSES else f"{MOST_CLASSES} of {len(classes)} classes."
    )
    quarantined = [row for row in ingest.rows if row.name == "quarantined" and row.of and row.value]
    why = ", ".join(f"{row.of} {number(row.value)}" for row in quarantined)
    words = f"Left out: {why}." if why else "No file had to be left out."
    blocks: list[Block] = [Table(["class", *SPLITS], [total, *rows], caption), Text(words)]
    return [Section("Data", [*blocks, *_drift(ingest, features)])]


def _drift(ingest: Report, features: Report | None) -> list[Block]:
    """How far the images, and their frozen features, moved since the champion, and what of it is too far."""
    rows = [[row.of, number(row.value), row.unit] for row in ingest.rows if row.name == "drift"]
    if not rows:
        return []
    moved = features.row("feature_drift", split="train") if features else None
    if moved is not None:
        rows.append(["features", number(moved.value), moved.unit])
    table = Table(["drift since the champion", "", "unit"], rows, "Means in the champion's own standard deviations.")
    warned = ingest.details.get("drifted", []) + (features.details.get("warnings", []) if features else [])
    return [table, Notes([("bad", words) for words in warned] or [("good", "as the champion's images were")])]


def training(reports: Reports) -> list[Section]:
    """What was trained, its top-1 on val, and what was chosen there."""
    lines = []
    for step, of in (("feature_extraction", "baseline"), ("finetune", "candidate")):
        report = reports.get(step)
        if report is not None:
            spec = report.spec
            top1, l2, epochs = report.row("top1", of, "val"), report.row("l2", of), report.row("best_epoch")
            how = f"l2 {number(l2.value)}" if l2 is not None else f"epoch {number(epochs.value)}" if epochs else ""
            lines.append([step.replace("_", " "), str(spec.get("backbone", "")), shown(top1), how])
    if not lines:
        return []
    return [Section("Training", [Table(["", "backbone", "val top1", "chosen on val"], lines)], folded=True)]


def export(export: Report | None) -> list[Section]:
    """Whether the file may be promoted, its parity with torch, and the lower precisions."""
    if export is None:
        return []
    because = export.details.get("ineligible_because", [])
    lines: list[tuple[Tone, str]] = [("bad", f"not eligible: {reason}") for reason in because]
    notes = Notes(lines or [("good", "the file may be promoted")])
    found = {name: export.row(name) for name in ("opset", "parity_samples", "flips", "max_abs_diff", "model_bytes")}
    labels = ("opset", "images compared with torch", "answers that differ", "largest logit difference", "size")
    whole = [[label, shown(row)] for label, row in zip(labels, found.values(), strict=True) if row is not None]
    parity = by_owner(_parity(export), PARITY, "parity with torch")
    blocks: list[Block] = [notes, Table(["", ""], whole), *([parity] if parity.rows else []), *_precisions(export)]
    return [Section("ONNX export", blocks, folded=True, hint=_flips(export))]


def _parity(export: Report) -> list[Row]:
    """The rows by provider, level of graph optimisation and batch, under shorter names."""
    return [
        row.model_copy(update={"of": row.of.replace("ExecutionProvider", "").replace("optimisation", "level")})
        for row in export.rows
        if "optimisation" in row.of
    ]


def _precisions(export: Report) -> list[Block]:
    """The lower precisions: size, and what they lose against fp32."""
    rows, notes = [], list[tuple[Tone, str]]()
    for name, facts in export.details.get("precisions", {}).items():
        losses = [export.row("top1_difference", f"{name}-fp32", split) for split in ("test", "val+test")]
        word = "yes" if facts["eligible"] else "no"
        notes += [("unsure", f"{name} may not ship: {reason}") for reason in facts.get("ineligible_because", [])]
        rows.append([name, shown(export.row("model_bytes", name)), *(shown(loss, "+") for loss in losses), word])
    caption = "Lower precisions; differences of top1 against fp32."
    table = Table(["", "size", "on test", "on val and test", "may ship"], rows, caption)
    return [table, *([Notes(notes)] if notes else [])] if rows else []


def _flips(export: Report) -> str:
    flips, opset = export.row("flips"), export.row("opset")
    told = f"opset {number(opset.value)}" if opset else ""
    return told + (f", {number(flips.value)} flips in {number(flips.n)} images" if flips else "")


def latency(latency: Report | None) -> list[Section]:
    """Milliseconds for each way of asking, warm and in a fresh process, and on which machine."""
    if latency is None:
        return []
    details = latency.details
    machine = details.get("machine", {})
    words = ", ".join(
        part
        for part in (
            str(details.get("provider", "")),
            counted(details["num_threads"], "threads") if "num_threads" in details else "",
            str(machine.get("processor", "")),
        )
        if part
    )
    p99 = latency.row("p99_ms", "batch 1")
    hint = f"p99 {shown(p99)} ms" if p99 is not None else ""
    warm = by_owner([row for row in latency.rows if row.of != "cold start"], ASKED, "asked")
    cold = by_owner([row for row in latency.rows if row.of == "cold start"], FRESH, "in a fresh process")
    advice = [Text(str(details["advice"]))] if details.get("advice") else []
    noisy: list[tuple[Tone, str]] = [("bad", "The machine was too noisy for these figures to be trusted.")]
    blocks: list[Block] = [Text(f"{words}."), *([Notes(noisy)] if details.get("noisy") else []), *advice]
    return [Section("Latency", [*blocks, *(one for one in (warm, cold) if one.rows)], folded=True, hint=hint)]
