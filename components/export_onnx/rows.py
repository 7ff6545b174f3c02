"""Rows of the export's report."""

from collections.abc import Mapping, Sequence

from components.export_onnx.losses import Loss, together
from components.export_onnx.parity import Parity
from components.export_onnx.precisions import Made
from components.interchange.cards import Precision
from components.interchange.report import Row


def parity_rows(opset: int | None, parity: Parity, num_images: int, model_bytes: int) -> list[Row]:
    """The fp32 export against torch: over all settings, then setting by setting; the size of the model that ships."""
    rows = [
        Row(name="opset", value=opset),
        Row(name="parity_samples", value=num_images, unit="images"),
        Row(name="flips", value=len(parity.flips), n=num_images),
        Row(name="max_abs_diff", value=parity.max_abs_diff, unit="logits", n=num_images),
        Row(name="max_rel_diff", value=parity.max_rel_diff, n=num_images),
        Row(name="model_bytes", value=model_bytes, unit="bytes"),
    ]
    for agreement in parity.agreements:
        of = str(agreement.setting)
        rows += [
            Row(name="flips", value=agreement.flips, of=of, n=num_images),
            Row(name="max_abs_diff", value=agreement.max_abs_diff, of=of, unit="logits", n=num_images),
            Row(name="max_rel_diff", value=agreement.max_rel_diff, of=of, n=num_images),
            Row(name="ece_difference", value=agreement.ece_difference, of=of, n=num_images),
            Row(name="nll_difference", value=agreement.nll_difference, of=of, unit="nats", n=num_images),
        ]
    return rows


def precision_rows(
    made: Mapping[Precision, Made], model_bytes: Mapping[Precision, int], classes: Sequence[str]
) -> list[Row]:
    """Other precisions against the fp32 export: top-1, flips, recall by class on test, size, how far fp16 reaches."""
    rows = []
    for name, other in made.items():
        rows.append(Row(name="model_bytes", value=model_bytes[name], unit="bytes", of=name))
        for split, loss in {**other.losses, "val+test": together(other.losses)}.items():
            rows += [
                _difference("top1_difference", loss, f"{name}-fp32", split),
                Row(name="flips", value=loss.flips, of=f"{name}-fp32", split=split, n=loss.n),
            ]
        for split, change in other.calibration.items():
            of, n = f"{name}-fp32", other.losses[split].n
            rows.append(Row(name="ece_difference", value=change.ece, of=of, split=split, n=n))
            rows.append(Row(name="nll_difference", value=change.nll, of=of, split=split, unit="nats", n=n))
        rows += [
            _difference("recall_difference", own, f"{name}-fp32/{label}", "test")
            for label, own in zip(classes, other.by_class, strict=True)
        ]
        if other.largest is not None:
            reached = other.largest.value
            rows.append(Row(name="largest_number", value=reached if reached == reached else None, of=name))
    return rows


def _difference(name: str, loss: Loss | None, of: str, split: str) -> Row:
    if loss is None:
        return Row(name=name, value=None, of=of, split=split, n=0)
    return Row(name=name, value=loss.value, of=of, split=split, n=loss.n, low=loss.low, high=loss.high)
