"""What a person at the terminal sees: a line a step on standard error, and the summary table on standard output.

What images, and whoever may write to a store, call things is escaped: it could steer the terminal, or give a CI system
orders on a line of its own.
"""

import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.interchange.errors import on_one_line

if TYPE_CHECKING:
    from pipelines.plan import Planned
    from pipelines.predict import Answer
    from pipelines.recipes import Setting
    from pipelines.run_options import RunOptions
    from pipelines.runner import Outcome

SHOWN_CLASSES = 5
SHORT_DIGEST = 12
MIB = 1 << 20
LEAST_ROOM = 30
MINUTES = len("2026-11-26T10:22")
WORDS = {"run": "", "unchanged": "unchanged", "skip": "skipped"}
LONG_NAME = 29  # Leaves the sources room in 80 columns.


def tell(outcome: "Outcome") -> None:
    """One line for a step that is done: name, seconds, main figure; `unchanged` or `skipped`, and why, otherwise."""
    state = f"{outcome.seconds:8.1f} s" if outcome.action == "run" else f"{WORDS[outcome.action]:>10}"
    words = outcome.figure if outcome.action == "run" else outcome.figure or outcome.why
    print(on_one_line(f"{outcome.step:<20}{state}  {words}".rstrip()), file=sys.stderr, flush=True)


def verdict_line(summary: dict[str, Any]) -> str:
    """A run in one line: when it ended, whose champion it is about, the verdict and why."""
    seconds = summary["seconds"].get("total")
    took = "" if seconds is None else f" ({seconds:.1f} s)"
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    reason = on_one_line(summary["reasons"][0])
    return f"{now} {summary['model_name']} {summary['run_id']}: {summary['verdict']}{took}: {reason}"


def failure_line(options: "RunOptions", error: Exception) -> str:
    """The same of a run that failed, with how the options that the error names are given to `graft run`."""
    from pipelines.parameters import given_here
    from pipelines.steps import graph_for

    here = given_here(str(error), getattr(error, "step", ""), graph_for(options.strategy))
    words = on_one_line(f"{error} Here {here}." if here else str(error))
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {options.model_name}: failed: {words}"


def announce(planned: "Iterable[Planned]") -> None:
    """One line a step that must run, and why, before anything does."""
    for one in planned:
        if one.action == "run":
            print(f"to do: {one.step.name} ({on_one_line(one.why)})", file=sys.stderr, flush=True)


def table(summary: dict[str, Any]) -> None:
    """The summary of a run, on standard output."""
    from rich.console import Console
    from rich.table import Table

    rows = Table(title=f"run {summary['run_id']}", show_header=False, title_justify="left")
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, value in summary_rows(summary):
        rows.add_row(name, value)
    Console(soft_wrap=False).print(rows, markup=False)
    for name, path in (("HTML report", summary["report"]), ("ONNX model", summary["onnx"]["path"])):
        if path is not None:
            print(f"{name}: {_near(path)}")


def summary_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of a run's table: what, and in words."""
    test, onnx, latency, seconds = (summary[name] for name in ("test", "onnx", "latency", "seconds"))
    parity = onnx["parity"]
    found = [("verdict", summary["verdict"]), ("because", "\n".join(map(on_one_line, summary["reasons"])))]
    if summary["warnings"]:
        found.append(("be wary of", "\n".join(map(on_one_line, summary["warnings"]))))
    if summary["selected"] is not None:
        found.append(("selected", summary["selected"]))
    for who in ("baseline", "candidate"):
        if test[f"{who}_top1"] is not None:
            found.append((f"test top1, {who}", f"{test[f'{who}_top1']:.4f} (n {test['n']})"))
    if test["difference"] is not None:
        low, high = test["interval"]
        found.append(("difference", f"{test['difference']:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"))
    if onnx["opset"] is not None:
        told = f"opset {onnx['opset']}; {parity['flips']} flips in {parity['samples']} images, "
        found.append(("ONNX", f"{told}largest logit difference {parity['max_abs_diff']:.1e}"))
    if latency["p99_ms"] is not None:
        told = ", ".join(
            f"{name} {latency[f'{name}_ms']:.2f} ms {_interval(latency[f'{name}_interval_ms'])}"
            for name in ("p50", "p99")
        )
        found.append(("latency", f"{told} at batch {latency['batch']} (n {latency['n']}, {latency['provider']})"))
    found.append(("seconds", f"{seconds['total']:.1f}"))
    return found


def _interval(bounds: Sequence[float | None]) -> str:
    """`[5.12, 7.66]`; a side that so few runs do not bound is `unbounded`."""
    return f"[{', '.join('unbounded' if bound is None else f'{bound:.2f}' for bound in bounds)}]"


def _near(path: str) -> str:
    """A path from here where it lies below, whole elsewhere."""
    here = Path.cwd()
    return os.path.relpath(path, here) if Path(path).is_relative_to(here) else path


def as_json(content: Any) -> None:
    """JSON on one line: all that a command with --json prints on standard output.

    Characters stand as they are, or escaped where the terminal, or JSON's UTF-8, has no bytes for them: a file's name
    may be bytes of no encoding.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8"), text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content, allow_nan=False)
    print(text, flush=True)


def columns(headings: Mapping[str, str], rows: Iterable[dict[str, Any]]) -> None:
    """Rows as plain aligned columns, those that have a heading by their names; what is None stays empty.

    Digests are cut short, times (UTC) to the minute: --json has them whole.
    """
    lines = [list(headings.values()), *([_cell(name, row[name]) for name in headings] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def runs(found: Iterable[dict[str, Any]]) -> None:
    """The runs of a store, a line each; top-1 on test. No wider than 80 columns, if the model's name is short."""
    shown = {"run_id": "run", "model_name": "model", "verdict": "verdict", "baseline_top1": "baseline"}
    shown |= {"candidate_top1": "candidate", "p99_ms": "p99_ms", "seconds": "seconds"}
    columns(shown, found)


def hanging(head: str, words: str) -> None:
    """Words behind a head; on a terminal what does not fit goes on below them, in a file it stays one line."""
    if not sys.stdout.isatty():
        print(f"{head}{words}")
        return
    room = max(shutil.get_terminal_size().columns - len(head), LEAST_ROOM)
    lines = textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False)
    print(head + f"\n{' ' * len(head)}".join(lines))


def champions(found: Iterable[dict[str, Any]]) -> None:
    """Every champion of a model name, a line each; each replaced the one below it. No wider than 80 columns."""
    shown = {"when": "when_utc", "by": "by", "digest": "digest", "test_top1": "top1", "p99_ms": "p99_ms"}
    shown |= {"run_id": "run"}
    columns(shown, found)


def stored(found: Iterable[dict[str, Any]]) -> None:
    """What lies in a store, a line each. No wider than 80 columns."""
    shown = {"digest": "digest", "what": "what", "files": "files", "size_mib": "size_mib", "published": "published_utc"}
    columns(shown, found)


def on_cluster(found: Iterable[dict[str, Any]]) -> None:
    """The runs on a cluster, a line each, ids whole. No wider than 80 columns, if the model's name is short."""
    shown = {"run_id": "run", "model_name": "model", "state": "state", "created": "created_utc"}
    columns(shown, found)


def weights(found: Iterable[dict[str, Any]]) -> None:
    """The weights of a store, a line each: which of timm's, licence, size, whether they are whole."""
    rows = [{**row, "size_mib": row["size_bytes"] / MIB, "whole": "yes" if row["whole"] else "no"} for row in found]
    columns({name: name for name in ("pretrained", "license", "size_mib", "whole")}, rows)


def fields(row: dict[str, Any]) -> None:
    """One row, a line a field. Digests are whole: they fit 80 columns where no name says that it is a digest."""
    shown = {name.removesuffix("_digest"): _text(name, value) for name, value in row.items()}
    width = max(map(len, shown))
    for name, text in shown.items():
        print(f"{name.ljust(width)}  {text}".rstrip())


def _cell(name: str, value: Any) -> str:
    text = _text(name, value)
    if name in ("when", "published", "created"):
        return text[:MINUTES].replace("T", " ")
    return text[:SHORT_DIGEST] if name == "digest" else text


def _text(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if "top1" in name or name == "gain" else f"{value:.2f}"
    return "" if value is None else on_one_line(str(value))


def recipe_tables() -> None:
    """Every recipe with every value, then every other default: its source, and whether it was measured."""
    from pipelines.defaults import defaults
    from pipelines.recipes import RECIPES

    for recipe in RECIPES:
        _settings_table(f"{recipe.name}: {recipe.purpose}", recipe.settings)
    _settings_table("defaults, wherever the recipe does not say otherwise", defaults())


def _settings_table(title: str, settings: "Iterable[Setting]") -> None:
    from rich.console import Console
    from rich.table import Column, Table

    value = Column("value", overflow="fold", width=17)  # The rates of four stages; longer ones go on below.
    table = Table(Column("parameter", no_wrap=True), value, "source", "measured", title=title, title_justify="left")
    for setting in settings:
        name = setting.name if len(setting.name) <= LONG_NAME else setting.name.replace(".", ".\n")
        table.add_row(name, _value_text(setting.value), setting.source, "yes" if setting.measured else "no")
    Console().print(table)


def _value_text(value: object) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def predictions(found: "Iterable[Answer]", as_objects: bool) -> int:
    """A line an image as it is answered, and how many could not be read: those stand on standard error, a line each.

    As text: name, likeliest class, its probability, those next to it; `unsure` below the model's threshold. As JSON: an
    object a line on standard output, for images that could not be read too.
    """
    from pipelines.predict import Unreadable

    unreadable = 0
    for one in found:
        if isinstance(one, Unreadable):
            unreadable += 1
            print(f"graft: {on_one_line(one.name)}: {one.reason}", file=sys.stderr, flush=True)
            if as_objects:
                as_json({"image": one.name, "error": one.reason})
        elif as_objects:
            told = {"image": one.name, "class": one.top_class, "confidence": one.confidence, "sure": one.sure}
            as_json({**told, "probabilities": one.probabilities})
        else:
            likeliest = sorted(one.probabilities.items(), key=lambda pair: -pair[1])[:SHOWN_CLASSES]
            unsure = "  unsure" if one.sure is False else ""
            classes = "  ".join(f"{name} {probability:.3f}" for name, probability in likeliest)
            print(f"{on_one_line(f'{one.name}  {classes}')}{unsure}")
    return unreadable
