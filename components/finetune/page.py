"""The training as one HTML page: how it went, which rate each layer had, what stayed frozen, what to be wary of."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.finetune.freezing import epochs_in_vain
from components.finetune.rates import by_rates
from components.interchange.page import Badge, Cell, KeyFigure, Notes, Plot, Section, Table, Text, Tone, render
from components.interchange.plots import lines

SHORT = 12
FROZEN: dict[bool, tuple[str, Tone]] = {True: ("tensors, unchanged", "good"), False: ("tensors", "plain")}
BALANCE = {
    "none": "",
    "balanced": "Losses were weighed so that every class has an equal share.",
    "sampled": "Images were drawn so that every class has an equal share.",
}
COLUMNS = (("epoch", "d"), ("train_loss", ".3f"), ("val_nll", ".3f"), ("val_top1", ".3f"))


def training_page(details: Mapping[str, Any], parameters: Mapping[str, Any], num_val: int) -> str:
    """The page, from the report's details and the step's parameters alone."""
    history, best_epoch = details["history"], details["best_epoch"]
    best, ended = history[best_epoch - 1], len(history)
    groups, frozen = details["param_groups"], details["frozen"]
    learning = sum(group["parameters"] for group in groups)
    badge = Badge("Ran to its end" if ended == parameters["num_epochs"] else f"Stopped after epoch {ended}", "plain")
    figures = [
        KeyFigure("val top1", f"{best['val_top1']:.3f}", f"n {num_val:,}, epoch {best_epoch}"),
        KeyFigure("val nll", f"{best['val_nll']:.3f}", "nats"),
        KeyFigure("learning", f"{learning:,}", f"parameters in {len(groups)} groups"),
        KeyFigure("frozen", f"{frozen['tensors']:,}", *FROZEN[frozen["tensors"] > 0]),
    ]
    return render(
        "Fine-tuning",
        f"{parameters['backbone']} under a new head; epoch {best_epoch} of {ended} was the best on val and was "
        "kept; whether it ships, evaluate decides. Test images were not looked at.",
        [
            _warnings(details["warnings"]),
            _course(history, best_epoch),
            _rates(details["learning_rates"], groups),
            _frozen(frozen, details["stages"], parameters),
            _stopping(history, best_epoch, parameters),
            _images(details, parameters["class_weights"]),
        ],
        badge=badge,
        figures=figures,
    )


def _warnings(warnings: Sequence[str]) -> Section:
    lines: list[tuple[Tone, str]] = [("unsure", f"{words[:1].upper()}{words[1:]}.") for words in warnings]
    return Section("Be wary of", [Notes(lines or [("good", "Nothing that was looked for.")])])


def _course(history: Sequence[Mapping[str, Any]], best_epoch: int) -> Section:
    epochs = [record["epoch"] for record in history]
    losses = {"train loss": [r["train_loss"] for r in history], "val nll": [r["val_nll"] for r in history]}
    drawings = [
        lines("loss", "epoch", "nats", epochs, losses, mark=best_epoch),
        lines("top1", "epoch", "val top1", epochs, {"val top1": [r["val_top1"] for r in history]}, mark=best_epoch),
    ]
    table = Table(
        ["epoch", "train loss", "val nll", "val top1"],
        [
            [Cell(f"{record[key]:{form}}", strong=record["epoch"] == best_epoch) for key, form in COLUMNS]
            for record in history
        ],
    )
    caption = "The dashed line marks the best epoch. The train loss is over augmented images, in train mode."
    return Section("Epoch by epoch", [Plot(drawings, caption), table])


def _rates(ledger: Mapping[str, Sequence[float]], groups: Sequence[Mapping[str, Any]]) -> Section:
    # In the groups' order: a ledger that comes out of a checkpoint is sorted by name.
    shown = by_rates({group["name"]: ledger[group["name"]] for group in groups if group["name"] in ledger})
    steps = list(range(1, 1 + max(map(len, shown.values()), default=0)))
    # A group that was unfrozen later has no rates before.
    padded = {name: [float("nan")] * (len(steps) - len(rates)) + list(rates) for name, rates in shown.items()}
    table = Table(
        ["group", "tensors", "parameters", "weight decay", "highest rate"],
        [
            [
                group["name"].partition("/")[0],  # The column of weight decay tells the rest.
                f"{group['tensors']:,}",
                f"{group['parameters']:,}",
                f"{group['weight_decay']:g}",
                f"{max(ledger[group['name']]):.3g}" if group["name"] in ledger else "–",
            ]
            for group in groups
        ],
        "Every parameter that learns is in exactly one group.",
    )
    drawing = lines("rates", "step", "learning rate", steps, padded, log_y=True)
    caption = "Read from the optimiser at every step. Groups that differ in weight decay alone share a line."
    return Section("Learning rates", [Plot([drawing], caption), table])


def _frozen(frozen: Mapping[str, Any], stages: Mapping[str, Sequence[str]], parameters: Mapping[str, Any]) -> Section:
    table = Table(
        ["stage", "modules"],
        [[stage, ", ".join(modules)] for stage, modules in stages.items()],
        "What a stage is.",
        words=True,
    )
    if not frozen["tensors"]:
        return Section("Frozen", [Text("Nothing was to stay frozen to the end."), table])
    statistics = (
        "BatchNorm's statistics included"
        if parameters["frozen_batchnorm"] == "frozen"
        else "BatchNorm's statistics apart: they follow the images, as --frozen-batchnorm adapt asks"
    )
    same = frozen["digest_before"] == frozen["digest_after"]
    proof = (
        f"sha256 over {frozen['tensors']} frozen tensors ({statistics}): {frozen['digest_before'][:SHORT]} before "
        f"training, {frozen['digest_after'][:SHORT]} after: {'unchanged' if same else 'CHANGED'}."
    )
    return Section("Frozen", [Notes([("good" if same else "bad", proof)]), table])


def _stopping(history: Sequence[Mapping[str, Any]], best_epoch: int, parameters: Mapping[str, Any]) -> Section:
    ended, planned, patience = len(history), parameters["num_epochs"], parameters["patience"]
    if ended == planned:
        words = f"All {planned} epochs were trained."
    elif epochs_in_vain(ended, best_epoch, parameters["unfreeze_at"]) >= patience:
        words = f"Val got no better for {ended - best_epoch} epochs after epoch {best_epoch}; {planned} were planned."
    else:
        words = f"The time was up after epoch {ended} of {planned}."
    return Section("The end", [Text(f"{words} The weights of epoch {best_epoch} were kept.")])


def _images(details: Mapping[str, Any], class_weights: str) -> Section:
    weights, preprocessing, counts = details["weights"], details["preprocessing"], details["counts"]
    mean, std = (", ".join(f"{value:g}" for value in preprocessing[name]) for name in ("mean", "std"))
    words = (
        f"Weights: {weights['origin']}, sha256 {weights['sha256'][:SHORT]}, licence {weights['license'] or 'unknown'}. "
        f"Their normalisation: mean {mean}; std {std}. Images are stored with a short side of "
        f"{preprocessing['resize_short_px']} px ({preprocessing['interpolation']}) and enter at "
        f"{preprocessing['crop_px']} px."
    )
    loss_weights = details["loss_weights"]
    table = Table(
        ["class", "training images", "weight in the loss"],
        [[name, f"{count:,}", f"{loss_weights[name]:.3g}"] for name, count in counts.items()],
        BALANCE[class_weights],
    )
    hint = f"{sum(counts.values()):,} to train" + (f", {class_weights}" if class_weights != "none" else "")
    return Section("Images and weights", [Text(words), table], folded=True, hint=hint)
