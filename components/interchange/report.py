"""The report artifact: rows of name, value, unit, split, n and interval, with the spec and the input digests.

`report.json` is for programs and the gate; an optional self-contained `report.html` is for people.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from components.interchange.artifact import digest, read_card_as, write_card
from components.interchange.errors import BadInput, what_is_wrong
from components.interchange.step import Spec, given_parameters, input_folders, step_name

CONFIDENCE = 0.95
ENTRANTS = {"finetune": "candidate", "feature_extraction": "baseline"}  # By the step that trained it: `of` in rows.
PAGE = "report.html"
D = TypeVar("D", bound=BaseModel)


class Row(BaseModel):
    """One figure. `of` says whose it is (`candidate`, `class scratch`); `low` and `high` bound its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | int | str | bool | None
    unit: str = ""
    of: str = ""
    split: str = ""
    n: int | None = None
    low: float | None = None
    high: float | None = None


class Report(BaseModel):
    """A report, read. `details` holds what is no row: confusion matrices, image ids, curves."""

    model_config = ConfigDict(extra="ignore")

    format: str
    step: str
    spec: dict[str, Any]
    inputs: dict[str, str]
    rows: list[Row]
    details: dict[str, Any]

    def row(self, name: str, of: str = "", split: str = "") -> Row | None:
        """The row of that name, owner and split, or None."""
        return self._known.get((name, of, split))

    @cached_property
    def _known(self) -> dict[tuple[str, str, str], Row]:
        return {(row.name, row.of, row.split): row for row in reversed(self.rows)}

    def details_as(self, model: type[D]) -> D:
        """`details` as a model of the fields that a reader needs; BadInput where one is missing or wrong."""
        try:
            return model.model_validate(self.details)
        except ValidationError as error:
            raise BadInput(f"the report of {self.step} is damaged, in its details: {what_is_wrong(error)}.") from None


def write_report(
    folder: Path, spec: Spec, rows: list[Row], details: dict[str, Any] | None = None, html: str | None = None
) -> None:
    """Write a step's report: its spec and its inputs' digests are taken from `spec`."""
    content = {
        "step": step_name(type(spec)),
        "spec": given_parameters(spec),
        "inputs": {name: digest(path) for name, path in input_folders(spec).items()},
        "rows": [row.model_dump(mode="json") for row in rows],
        "details": details or {},
    }
    write_card(folder, "report", content)
    if html is not None:
        (folder / PAGE).write_text(html, encoding="utf-8")


def read_report(folder: Path) -> Report:
    """Read a report artifact; BadInput when it is missing, damaged or of a newer format."""
    return read_card_as(Report, folder, "report")
