"""The range test as one HTML page: the loss over the rate, and which rate to take."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.interchange.page import Badge, KeyFigure, Plot, Section, Table, Text, render
from components.interchange.plots import lines

RULE = (
    "Through every 9 neighbouring steps goes the least-squares line of the loss over the logarithm of the rate; the "
    "rate in the middle of the line that falls most steeply, up to where the loss is lowest, is suggested (Smith 2017, "
    "arXiv:1506.01186). The loss at a rate is that of the weights before the step at this rate; images are augmented, "
    "the model is in train mode. A range test is short: it shows where learning begins and ends, and knows nothing of "
    "where a whole training arrives."
)


def range_page(details: Mapping[str, Any], parameters: Mapping[str, Any], smoothed: Sequence[float]) -> str:
    """The page, from the report's details and the parameters; `smoothed` are the losses without their noise."""
    suggested, exploded = details["suggested_lr"], details["exploded_lr"]
    rates, losses = details["rates"], details["losses"]
    series = {"a batch's loss": losses, "mean of 9 steps": smoothed}
    drawing = lines("range", "base_lr", "nats", rates, series, log_x=True, log_y=exploded is not None, mark=suggested)
    groups = Table(
        ["group", "rate"],
        [[group["name"], f"{group['multiple']:g} times base_lr"] for group in details["param_groups"]],
        "What base_lr means to each param group; these multiples were kept at every step.",
    )
    return render(
        "Learning-rate range test",
        _lead(details, parameters),
        [
            Section("Loss over rate", [Plot([drawing], "The dashed line marks the rate that is suggested.")]),
            Section("How it was found", [Text(RULE), groups]),
        ],
        badge=Badge("Nothing to suggest", "unsure") if suggested is None else Badge(f"base_lr {suggested:.1e}", "good"),
        figures=[
            KeyFigure("suggested base_lr", shown(suggested), "steepest descent"),
            KeyFigure("lowest loss at", shown(details["lowest_lr"]), "too high to train with"),
            KeyFigure("exploded at", shown(exploded), "" if exploded else f"not up to {rates[-1]:.1e}"),
            KeyFigure("steps", str(len(losses)), f"of {parameters['batch_size']} images"),
        ],
    )


def shown(rate: float | None) -> str:
    """A rate with two digits; a dash where there is none."""
    return "–" if rate is None else f"{rate:.1e}"


def _lead(details: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    tried = f"{parameters['backbone']} was trained with rates from {parameters['lowest_lr']:.1e} up"
    if details["suggested_lr"] is None:
        return f"{tried}; the loss fell nowhere by more than its noise. Take more --num-steps, or other bounds."
    return f"{tried}; the loss falls most steeply at a base_lr of {details['suggested_lr']:.1e}."
