"""One page for a whole run: verdict, key figures, how good the model is, then data, training, export and latency.

What decides stands in words and per cent; tables, which are for engineers, fold away. It is made from rows and details
alone; a run that failed has the sections of the steps that were done. The pages of single steps lie beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from components.interchange import run_sections
from components.interchange.figures import gain, gains_of, key_figure, share
from components.interchange.page import (
    Badge,
    KeyFigure,
    Notes,
    Section,
    Table,
    Text,
    Tone,
    render,
)
from components.interchange.report import ENTRANTS, Report
from components.interchange.run_sections import Reports, top1_of
from components.interchange.summary import BROKEN_OFF, ingested, stopped_because, warnings_of

TONES: dict[str, Tone] = {"promote": "good", "keep": "bad", "inconclusive": "unsure", "failed": "bad"}
OUTCOMES: dict[str, Tone] = {"holds": "good", "violated": "bad", "open": "unsure"}


def run_page(summary: Mapping[str, Any], reports: Reports, pages: Sequence[str] = ()) -> str:
    """The page of a run from its summary and its reports by step; `pages` name the steps' own."""
    verdict = summary["verdict"]
    sections = [
        _verdict(summary, reports.get("gate")),
        *_warnings(reports),
        *run_sections.quality(reports.get("evaluate")),
        *run_sections.slices(reports.get("evaluate")),
        *run_sections.scores(reports.get("evaluate")),
        *run_sections.data(ingested(reports), reports.get("feature_extraction")),
        *run_sections.training(reports),
        *run_sections.export(reports.get("export_onnx")),
        *run_sections.latency(reports.get("latency")),
        _how(summary, reports, pages),
    ]
    word = verdict.replace("_", " ")
    return render(
        str(summary.get("model_name", "Run")),
        _lead(summary, reports),
        sections,
        badge=Badge(word, TONES.get(verdict, "plain")),
        figures=_key_figures(summary, reports),
        byline=f"run {summary['run_id']}",
    )


def _lead(summary: Mapping[str, Any], reports: Reports) -> str:
    """The run in one or two sentences."""
    verdict, evaluate = summary["verdict"], reports.get("evaluate")
    told = {
        "promote": "The new model goes into service.",
        "keep": "The new model does not go into service.",
        "inconclusive": "The evidence does not decide: nothing changes in service.",
        "unchanged": "Nothing had to run: sources, parameters and code are as they were.",
        **dict.fromkeys(BROKEN_OFF, f"The run did not come to its end: {'; '.join(summary['reasons']).rstrip('.')}."),
    }.get(verdict, f"The verdict is {verdict}.")
    if stopped_because(reports):
        return "The images drifted since the champion, and the run ended before training: the champion stays."
    if evaluate is None:
        return told
    return " ".join([told, *_told(evaluate)])


def _told(evaluate: Report) -> list[str]:
    """How many test images the selected classifier gets right, and how many the others do, in words."""
    selected = ENTRANTS[evaluate.details["selected"]]
    found = top1_of(evaluate)
    if selected not in found:
        return []
    right = {who: f"{round(float(row.value or 0) * (row.n or 0)):,} of {row.n:,}" for who, row in found.items()}
    shared = {who: " of the classes that both know" for who, row in found.items() if row.n != found[selected].n}
    others = [f"the {who} {right[who]}{shared.get(who, '')}" for who in found if who != selected]
    against = f"; {' and '.join(others)}" if others else ""
    return [f"The {selected} gets {right[selected]} test images right{against}."]


def _key_figures(summary: Mapping[str, Any], reports: Reports) -> list[KeyFigure]:
    found: list[KeyFigure] = []
    evaluate, export, latency = (reports.get(step) for step in ("evaluate", "export_onnx", "latency"))
    if evaluate is not None:
        found += share("right on test images", evaluate.row("top1", ENTRANTS[evaluate.details["selected"]], "test"))
        for whose, row in gains_of(evaluate.row).items():
            found += gain(f"points, {whose}", row)
    if latency is not None:
        noisy = bool(latency.details.get("noisy"))
        p99, note = latency.row("p99_ms", "batch 1"), "on a noisy machine" if noisy else ""
        found += key_figure("99 of 100 answers within", p99, is_tone="unsure" if noisy else "plain", note=note)
    if export is not None:
        flips = export.row("flips")
        is_tone: Tone = "good" if flips is not None and flips.value == 0 else "unsure"
        found += key_figure("answers that the export changes", flips, is_tone=is_tone)
    total = summary["seconds"].get("total")
    return found + ([KeyFigure("duration of the run", _duration(total))] if total is not None else [])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{seconds:.1f} s" if seconds < 60 else f"{minutes} min {rest:02d} s"


def _value(value: object) -> str:
    """A parameter as people write it: `yes`, `8, 32`, `none`."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    return "not given" if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _verdict(summary: Mapping[str, Any], gate: Report | None) -> Section:
    lines: list[tuple[Tone, str]] = [("plain", reason) for reason in summary["reasons"]]
    if gate is not None and summary["verdict"] not in BROKEN_OFF:
        judged: list[tuple[Tone, str]] = [(OUTCOMES[one["outcome"]], one["words"]) for one in gate.details["findings"]]
        words = {line for _, line in judged}
        lines = [line for line in lines if line[1] not in words] + judged
    return Section("Why", [Notes(lines)])


def _warnings(reports: Reports) -> list[Section]:
    lines: list[tuple[Tone, str]] = [("unsure", words) for words in warnings_of(reports)]
    return [Section("Be wary of", [Notes(lines)])] if lines else []


def _how(summary: Mapping[str, Any], reports: Reports, pages: Sequence[str]) -> Section:
    seconds = summary["seconds"]
    parameters = [
        [f"{step}.{name}", _value(value)]
        for step, report in reports.items()
        for name, value in sorted(report.spec.items())
    ]
    in_order = dict.fromkeys([step for step in reports if step in seconds] + sorted(set(seconds) - {"total"}))
    not_run = {step: "done before" if step in reports else "skipped" for step in in_order}
    times = [[step, _duration(seconds[step]) if seconds[step] else not_run[step]] for step in in_order]
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
