"""The page of the latency report."""

from collections.abc import Sequence
from typing import Any

from components.interchange.errors import counted
from components.interchange.figures import ASKED, FRESH, by_owner, key_figure
from components.interchange.page import Badge, KeyFigure, Notes, Plot, Section, Text, Tone, render
from components.interchange.report import Row
from components.latency.curve import Point, curve

TONES: dict[str, Tone] = {"pass": "good", "fail": "bad", "inconclusive": "unsure"}
VERDICTS = {
    "pass": "The whole interval of p99 lies within the budget of {:g} ms.",
    "fail": "p99 is over the budget of {:g} ms.",
    "inconclusive": "These runs do not say whether p99 is within the budget of {:g} ms.",
}
# Of the many figures the ones that a reader looks for: label, name, of.
KEY_FIGURES = (
    ("p50 at batch 1", "p50_ms", "batch 1"),
    ("p99 at batch 1", "p99_ms", "batch 1"),
    ("p50 from file to answer", "p50_ms", "end to end"),
    ("first answer of a cold start", "first_answer_ms", "cold start"),
)


def page(rows: Sequence[Row], points: list[Point], details: dict[str, Any]) -> str:
    """The page as HTML: verdict, key figures and noise, throughput against latency, every figure with its interval."""
    machine, verdict = details["machine"], details["verdict"]
    lead = (
        f"{details['precision']} on {details['provider']}, {machine['processor']}, {machine['cores']} cores, "
        f"{counted(details['num_threads'], 'threads')}, onnxruntime "
        f"{machine['onnxruntime']}."
    )
    if verdict is not None:
        lead += f" {VERDICTS[verdict].format(details['max_p99_ms'])}"
    warm = by_owner([row for row in rows if row.of and row.of != "cold start"], ASKED, "asked")
    cold = by_owner([row for row in rows if row.of == "cold start"], FRESH, "in a fresh process")
    plot = Plot([curve(points)], "Each way of asking: up and to the left is better.")
    sections = [
        Section("Can it be trusted", [Notes(_trust(details))]),
        Section("Throughput", [plot]),
        Section("Every figure", [one for one in (warm, cold) if one.rows]),
    ]
    if details["advice"]:
        sections.insert(0, Section("Precision", [Text(details["advice"])]))
    badge = None if verdict is None else Badge(verdict, TONES[verdict])
    return render("Latency", lead, sections, badge=badge, figures=_key_figures(rows))


def _key_figures(rows: Sequence[Row]) -> list[KeyFigure]:
    found: list[KeyFigure] = []
    for label, name, of in KEY_FIGURES:
        row = next((row for row in rows if (row.name, row.of) == (name, of)), None)
        found += key_figure(label, row)
    return found


def _trust(details: dict[str, Any]) -> list[tuple[Tone, str]]:
    """Whether the machine was quiet and the model warm, and which providers could not start."""
    noise, noisy = details["noise"], details["noisy"]
    quiet = "too noisy for a figure to be trusted" if noisy else "quiet enough"
    lines: list[tuple[Tone, str]] = [
        (
            "bad" if noisy else "good",
            f"The machine was {quiet}: measured against itself, in turn, p50 differed by "
            f"{noise['p50_difference']:.1%} and p99 by {noise['p99_difference']:.1%}{_waiting(noise['waiting'])}.",
        )
    ]
    processes = "a fresh process" if details["processes"] == 1 else f"each of {details['processes']:,} fresh processes"
    runs = f"{details['warmup_runs']:,} warm-up runs in all"
    if details["warmup_settled"]:
        lines.append(("good", f"The times had settled in {processes}, after {runs}."))
    else:
        lines.append(("unsure", f"The times had not settled in {processes}, after {runs}."))
    lines += [("bad", f"{details['overload']}.")] if details["overload"] else []
    lines += [("plain", f"{name} did not start: {why}") for name, why in details["providers_not_started"].items()]
    return lines


def _waiting(share: float | None) -> str:
    return "" if share is None else f"; for {share:.0%} of the time something waited for a core"
