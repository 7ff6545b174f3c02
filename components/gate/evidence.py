"""What the gate judges: four reports, read and checked to belong to one run."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from components.gate.rules import bounds, number
from components.interchange.errors import BadInput, counted, listed
from components.interchange.report import ENTRANTS, Report, Row, read_report

WRITERS = {"ingest": ("ingest", "ingest_merge")}  # Where a source is read in shares, their merge tells of ingest.


def how_measured(provider: str | None, num_threads: int | None, processor: str | None) -> str:
    """`CPUExecutionProvider and 4 threads`, and the processor where it is known."""
    return f"{provider} and {counted(num_threads or 0, 'threads')}{f' of {processor}' if processor else ''}"


class ChampionFacts(BaseModel):
    """The champion as evaluate compared with it; `latency` are its rows of when it was promoted."""

    model_config = ConfigDict(extra="ignore")

    digest: str
    shared_classes: list[str]
    added_classes: list[str]
    removed_classes: list[str]
    latency: list[Row] = []
    provider: str | None = None
    num_threads: int | None = None
    processor: str | None = None
    noisy: bool = False


class Evaluated(BaseModel):
    """Details of evaluate's report that the gate needs."""

    model_config = ConfigDict(extra="ignore")

    selected: Literal["finetune", "feature_extraction"]
    selected_digest: str
    champion: ChampionFacts | None


class Flip(BaseModel):
    """One image whose top-1 differs between torch and ONNX."""

    model_config = ConfigDict(extra="ignore")

    id: str


class Exported(BaseModel):
    """Details of export_onnx's report that the gate needs."""

    model_config = ConfigDict(extra="ignore")

    eligible: bool
    ineligible_because: list[str]
    flips: list[Flip]


class Machine(BaseModel):
    """Of the machine that latency ran on."""

    model_config = ConfigDict(extra="ignore")

    processor: str | None = None


class Measured(BaseModel):
    """Details of latency's report that the gate needs."""

    model_config = ConfigDict(extra="ignore")

    provider: str
    num_threads: int
    noisy: bool = False
    machine: Machine = Machine()

    @property
    def how(self) -> str:
        """In words what times depend on: provider, threads, and the processor where it is known."""
        return how_measured(self.provider, self.num_threads, self.machine.processor)


@dataclass(frozen=True)
class Evidence:
    """Reports of one run with their details; `entrant` is the owner of the selected classifier's rows."""

    reports: dict[str, Report]
    evaluated: Evaluated
    exported: Exported
    measured: Measured

    @property
    def entrant(self) -> str:
        return ENTRANTS[self.evaluated.selected]

    @property
    def contenders(self) -> list[str]:
        """Digests of the classifiers that this run made."""
        inputs = self.reports["evaluate"].inputs
        return [inputs[name] for name in ENTRANTS.values() if name in inputs]

    @property
    def model(self) -> str:
        """Digest of the ONNX model that was measured; BadInput when the report lacks it."""
        found = self.reports["latency"].inputs.get("onnx_model")
        if found is None:
            raise BadInput("the report of latency has no input onnx_model. Was it written by this version?")
        return found

    @property
    def difference(self) -> Row | None:
        """Test top-1 gain over the champion on test images that it was not trained on; None where nothing compares.

        It is that of the file that ships. Reports from before leaks were looked for have it on all images alone.
        """
        report = self.reports["evaluate"]
        adjusted = report.row("top1_difference_adjusted", "selected-champion", "test")
        found = adjusted or report.row("top1_difference", "selected-champion", "test")
        return None if found is None or found.value is None else self.as_it_ships(found)

    @property
    def class_differences(self) -> dict[str, list[Row]]:
        """Recall differences of the selected classifier by whom it is to be compared with: champion, baseline.

        None of an opponent of whom nothing can be compared: a champion that knows every test image.
        """
        compared = {} if self.evaluated.champion is None else {"champion": "selected-champion/"}
        if self.entrant == "candidate" and "baseline" in self.reports["evaluate"].inputs:
            compared["baseline"] = "candidate-baseline/"
        rows = [row for row in self.reports["evaluate"].rows if row.name == "recall_difference"]
        return {who: [row for row in rows if row.of.startswith(of)] for who, of in compared.items()}

    @property
    def num_tested_classes(self) -> int:
        """Classes that the test set has images of; BadInput where evaluate's report tells of none."""
        recalls = [row for row in self.reports["evaluate"].rows if (row.name, row.split) == ("recall", "test")]
        found = sum(row.of.startswith(f"{self.entrant}/") and bool(row.n) for row in recalls)
        if not found:
            raise BadInput("the report of evaluate has no recall by class. Was it written by this version?")
        return found

    @property
    def precision(self) -> str:
        """Of the file that ships."""
        return str(self.reports["export_onnx"].spec.get("precision", "fp32"))

    @property
    def in_precision(self) -> str:
        """In words behind a figure that `as_it_ships` moved: `, in int8`."""
        return "" if self.precision == "fp32" else f", in {self.precision}"

    @property
    def precision_differences(self) -> list[Row] | None:
        """Recall differences of the file that ships against the fp32 export; None where it is the fp32 export."""
        if self.precision == "fp32":
            return None
        rows, of = self.reports["export_onnx"].rows, f"{self.precision}-fp32/"
        return [row for row in rows if row.name == "recall_difference" and row.of.startswith(of)]

    def as_it_ships(self, row: Row) -> Row:
        """A figure on test of the classifier before its export, moved by what a lower precision changes in it.

        It is a share, or a gain in top-1, which changes as top-1 does. The interval is that of the sum of both (MOVER:
        Zou and Donner 2008).
        """
        if self.precision == "fp32":
            return row
        is_gain = row.name.startswith("top1_difference")
        name, least = ("top1_difference", -1.0) if is_gain else (f"{row.name}_difference", 0.0)
        change = self.row("export_onnx", name, f"{self.precision}-fp32", "test")
        value, moved, (low, high), (less, most) = number(row), number(change), bounds(row), bounds(change)
        below, above = math.hypot(value - low, moved - less), math.hypot(high - value, most - moved)
        found = {"value": value + moved, "low": value + moved - below, "high": value + moved + above}
        return row.model_copy(update={end: min(max(bound, least), 1.0) for end, bound in found.items()})

    def row(self, step: str, name: str, of: str = "", split: str = "") -> Row:
        """A row with a figure; BadInput when the report lacks it."""
        row = self.reports[step].row(name, of, split)
        if row is None or row.value is None:
            where = " ".join(part for part in (f"of {of}" if of else "", f"on {split}" if split else "") if part)
            raise BadInput(f"the report of {step} has no figure {name} {where}. Was it written by this version?")
        return row

    def figures(self, step: str, names: tuple[str, ...], of: tuple[str, ...], split: str = "") -> list[Row]:
        """All rows of a report with one of these names and owners."""
        rows = self.reports[step].rows
        return [row for row in rows if row.name in names and row.of in of and row.split == split]


def read_evidence(folders: dict[str, Path]) -> Evidence:
    """Read the reports by the step that must have written them; BadInput when they are not of one run."""
    reports = {step: read_report(folder) for step, folder in folders.items()}
    swapped = [
        f"{folders[step]} is of {report.step}"
        for step, report in reports.items()
        if report.step not in WRITERS.get(step, (step,))
    ]
    if swapped:
        raise BadInput(f"reports were mixed up: {listed(swapped)}. Give each step's own report.")
    evidence = Evidence(
        reports,
        reports["evaluate"].details_as(Evaluated),
        reports["export_onnx"].details_as(Exported),
        reports["latency"].details_as(Measured),
    )
    _check_one_run(evidence)
    return evidence


def _check_one_run(evidence: Evidence) -> None:
    inputs: dict[str, dict[str, Any]] = {step: report.inputs for step, report in evidence.reports.items()}
    datasets = {step: inputs[step].get("dataset", "none") for step in ("evaluate", "export_onnx", "latency")}
    problems = []
    if len(set(datasets.values())) > 1:
        problems.append("dataset " + ", ".join(f"{step} {found[:12]}" for step, found in datasets.items()))
    chosen, exported = evidence.evaluated.selected_digest, inputs["export_onnx"].get("selected", "none")
    if chosen != exported:
        problems.append(f"classifier evaluate {chosen[:12]}, export_onnx {exported[:12]}")
    if problems:
        raise BadInput(f"the reports are not of one run: {'; '.join(problems)}. Run the steps again in order.")
