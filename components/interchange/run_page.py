"""One page for a whole run: verdict, key figures, then data, training, evaluation, export, latency, from the reports.

It is made from rows and details alone; a run that failed has the sections of the steps that were done. The pages of
single steps lie beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from components.interchange.figures import key_figure, number, shown, tone
from components.interchange.page import (
    Badge,
    Bar,
    Bars,
    Block,
    Cell,
    KeyFigure,
    Notes,
    Section,
    Table,
    Text,
    Tone,
    render,
)
from components.interchange.report import Report, Row
from components.interchange.summary import ingested, stopped_because

TONES: dict[str, Tone] = {"promote": "good", "keep": "bad", "inconclusive": "unsure", "failed": "bad"}
OUTCOMES: dict[str, Tone] = {"holds": "good", "violated": "bad", "open": "unsure"}
WHO = {"finetune": "candidate", "feature_extraction": "baseline"}
SPLITS = ("train", "val", "test")
SCORES = ("top1", "top5", "macro_f1", "ece", "nll")
MOST_SLICES, MOST_CLASSES = 12, 20
Reports = Mapping[str, Report]


def run_page(summary: Mapping[str, Any], reports: Reports, pages: Sequence[str] = ()) -> str:
    """The page of a run from its summary and its reports by step; `pages` name the steps' own."""
    verdict = summary["verdict"]
    sections = [
        _verdict(summary, reports.get("gate")),
        *_data(ingested(reports), reports.get("feature_extraction")),
        *_training(reports),
        *_scores(reports.get("evaluate")),
        *_slices(reports.get("evaluate")),
        *_classes(reports.get("evaluate")),
        *_export(reports.get("export_onnx")),
        *_latency(reports.get("latency")),
        _how(summary, reports, pages),
    ]
    word = verdict.replace("_", " ")
    return render(
        f"{summary.get('model_name', 'Run')}, run {summary['run_id']}",
        _lead(summary, reports),
        sections,
        badge=Badge(word, TONES.get(verdict, "plain")),
        figures=_key_figures(summary, reports),
    )


def _lead(summary: Mapping[str, Any], reports: Reports) -> str:
    """The run in one or two sentences."""
    verdict, evaluate = summary["verdict"], reports.get("evaluate")
    told = {
        "promote": "The new model goes into service.",
        "keep": "The new model does not go into service.",
        "inconclusive": "The evidence does not decide: nothing changes in service.",
        "unchanged": "Nothing had to run: sources, parameters and code are as they were.",
        "failed": f"The run did not come to its end: {'; '.join(summary['reasons']).rstrip('.')}.",
    }.get(verdict, f"The verdict is {verdict}.")
    if stopped_because(reports):
        return "The images drifted since the champion, and the run ended before training: the champion stays."
    if evaluate is None:
        return told
    who = WHO[evaluate.details["selected"]]
    top1, rest = evaluate.row("top1", who, "test"), ""
    if top1 is not None and top1.value is not None:
        right = round(float(top1.value) * (top1.n or 0))
        rest = f" The {who} was selected: it gets {right:,} of {top1.n:,} test images right."
    return told + rest


def _key_figures(summary: Mapping[str, Any], reports: Reports) -> list[KeyFigure]:
    found: list[KeyFigure] = []
    evaluate, export, latency = (reports.get(step) for step in ("evaluate", "export_onnx", "latency"))
    if evaluate is not None:
        found += key_figure("test top1", evaluate.row("top1", WHO[evaluate.details["selected"]], "test"))
        for opponent, row in _gains(evaluate).items():
            label = "fine-tuned over baseline" if opponent == "baseline" else f"gain over the {opponent}"
            found += key_figure(label, row, "+", tone(row))
    if latency is not None:
        found += key_figure("p99 at batch 1", latency.row("p99_ms", "batch 1"))
    if export is not None:
        flips = export.row("flips")
        found += key_figure(
            "flips in ONNX", flips, is_tone="good" if flips is not None and flips.value == 0 else "unsure"
        )
    total = summary["seconds"].get("total")
    return found + ([KeyFigure("duration", _duration(total))] if total is not None else [])


def _gains(evaluate: Report) -> dict[str, Row]:
    """The paired differences on test that were judged, by opponent."""
    names = {"baseline": ("candidate-baseline", ""), "champion": ("selected-champion", "_adjusted")}
    found = {
        who: evaluate.row(f"top1_difference{suffix}", of, "test") or evaluate.row("top1_difference", of, "test")
        for who, (of, suffix) in names.items()
    }
    return {who: row for who, row in found.items() if row is not None}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{seconds:.1f} s" if seconds < 60 else f"{minutes} min {rest:02d} s"


def _verdict(summary: Mapping[str, Any], gate: Report | None) -> Section:
    lines: list[tuple[Tone, str]] = [("plain", reason) for reason in summary["reasons"]]
    if gate is not None and summary["verdict"] not in ("failed",):
        judged: list[tuple[Tone, str]] = [(OUTCOMES[one["outcome"]], one["words"]) for one in gate.details["findings"]]
        words = {line for _, line in judged}
        lines = [line for line in lines if line[1] not in words] + judged
    return Section("Why", [Notes(lines)])


def _data(ingest: Report | None, features: Report | None) -> list[Section]:
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


def _training(reports: Reports) -> list[Section]:
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


def _scores(evaluate: Report | None) -> list[Section]:
    if evaluate is None:
        return []
    details = evaluate.details
    selected = WHO[details["selected"]]
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
    gains = [[f"over the {who}", number(row.n), shown(row, "+")] for who, row in _gains(evaluate).items()]
    paired = [Table(["paired top1 gain", "n", ""], gains, "Both on the same images.")] if gains else []
    words = [
        _sentence(details["selected_because"]),
        *(_sentence(details[name]) for name in ("calibration", "threshold") if name in details),
    ]
    return [Section("Evaluation", [table, *paired, *(Text(line) for line in words)])]


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _slices(evaluate: Report | None) -> list[Section]:
    rows = [row for row in evaluate.rows if row.name == "slice_top1" and row.high is not None] if evaluate else []
    if evaluate is None or not rows:
        return []
    facts = evaluate.details["slices"]
    lowest = sorted(rows, key=lambda row: row.high or 0)[:MOST_SLICES]
    bars = [
        Bar(
            row.of,
            float(row.value or 0),
            float(row.low or 0),
            float(row.high or 0),
            text=f"{shown(row)}  n {row.n:,}",
            strong=row.of == facts["worst"] and facts["stands_out"],
        )
        for row in lowest
    ]
    chance = "more than chance explains" if facts["stands_out"] else "what chance may explain"
    hint = f"worst: {facts['worst']}, {chance}" if facts["worst"] else "no part is large enough"
    caption = f"Test top1 of the {len(bars)} lowest of {facts['looked_at']} parts."
    start = max(0.0, min(bar.low for bar in bars) - 0.05)
    return [Section("By part of the test set", [Bars(bars, caption, start=start)], folded=True, hint=hint)]


def _classes(evaluate: Report | None) -> list[Section]:
    if evaluate is None:
        return []
    of, classes = WHO[evaluate.details["selected"]], evaluate.details["classes"]
    recalls = {name: evaluate.row("recall", f"{of}/{name}", "test") for name in classes}
    lowest = sorted(recalls.items(), key=lambda pair: float(pair[1].value or 0) if pair[1] else 0)[:MOST_CLASSES]
    rows = [
        [name, number(row.n if row else None), shown(row), shown(evaluate.row("precision", f"{of}/{name}", "test"))]
        for name, row in lowest
    ]
    caption = f"The {of} on test, the lowest recall first."
    return [Section("By class", [Table(["class", "n", "recall", "precision"], rows, caption)], folded=True)]


def _export(export: Report | None) -> list[Section]:
    if export is None:
        return []
    rows = [[row.name + (f" ({row.of})" if row.of else ""), shown(row), row.unit, number(row.n)] for row in export.rows]
    because = export.details.get("ineligible_because", [])
    lines: list[tuple[Tone, str]] = [("bad", f"not eligible: {reason}") for reason in because]
    notes = Notes(lines or [("good", "the file may be promoted")])
    return [Section("ONNX export", [notes, Table(["", "", "unit", "n"], rows)], folded=True, hint=_flips(export))]


def _flips(export: Report) -> str:
    flips, opset = export.row("flips"), export.row("opset")
    told = f"opset {number(opset.value)}" if opset else ""
    return told + (f", {number(flips.value)} flips in {number(flips.n)} images" if flips else "")


def _latency(latency: Report | None) -> list[Section]:
    if latency is None:
        return []
    rows = [[row.name, row.of, shown(row), row.unit, number(row.n)] for row in latency.rows if row.value is not None]
    details = latency.details
    machine = details.get("machine", {})
    words = ", ".join(
        part
        for part in (
            str(details.get("provider", "")),
            f"{details['num_threads']} threads" if "num_threads" in details else "",
            str(machine.get("processor", "")),
        )
        if part
    )
    p99 = latency.row("p99_ms", "batch 1")
    hint = f"p99 {shown(p99)} ms" if p99 is not None else ""
    table = Table(["figure", "of", "", "unit", "n"], rows, "Brackets are 95 % intervals.")
    return [Section("Latency", [Text(f"{words}."), table], folded=True, hint=hint)]


def _how(summary: Mapping[str, Any], reports: Reports, pages: Sequence[str]) -> Section:
    seconds = summary["seconds"]
    parameters = [
        [f"{step}.{name}", str(value)]
        for step, report in reports.items()
        for name, value in sorted(report.spec.items())
    ]
    times = [[step, _duration(value)] for step, value in seconds.items() if step != "total"]
    uses = summary.get("test", {}).get("uses")
    told = []
    if uses:
        times_used = "once" if uses == 1 else f"{uses:,} times"
        told.append(
            f"This test set has been used {times_used} in this store, this run included. The more often, the less its "
            "figures mean for new images."
        )
    if pages:
        told.append(f"Beside this page lie those of single steps: {', '.join(pages)}.")
    tables = [Table(["step", "time"], times)] if times else []
    tables += [Table(["parameter", "value"], parameters, "Every parameter of every step.")] if parameters else []
    return Section(
        "How it was made", [*(Text(line) for line in told), *tables], folded=True, hint=f"run {summary['run_id']}"
    )
