"""A model in another precision: made from the fp32 file, judged on val and on test against it.

Everything that is chosen (what int8 leaves in fp32) is chosen on val; test can only veto. N images, C classes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from components.export_onnx import fp16, int8
from components.export_onnx.export import tidy
from components.export_onnx.files import remove, save
from components.export_onnx.images import Images
from components.export_onnx.losses import Loss, loss, loss_by_class, too_much, within
from components.export_onnx.parity import CalibrationChange, calibration_change
from components.export_onnx.settings import batches, onnx_logits
from components.interchange.cards import Precision
from components.interchange.onnx_model import MODEL_FILE, as_input, layout_of, variant_file
from components.interchange.providers import CPU_PROVIDER, own_options
from components.interchange.scoring import Logits

JudgedOn = Literal["val", "test"]
JUDGED_ON: tuple[JudgedOn, ...] = ("val", "test")

log = logging.getLogger("graft")
CALIBRATION_BATCH = 8
JUDGING_BATCH = 32
DAMAGE_IMAGES = 32


@dataclass
class Made:
    """A file in another precision: what it costs by split, why it may not ship, what int8 left in fp32.

    `by_class` is what it costs in recall on test, in the order of the classes.
    """

    precision: Precision
    path: Path
    losses: dict[str, Loss] = field(default_factory=dict)
    by_class: list[Loss | None] = field(default_factory=list)
    calibration: dict[str, CalibrationChange] = field(default_factory=dict)
    because: list[str] = field(default_factory=list)
    kept_fp32: list[str] = field(default_factory=list)
    largest: fp16.Reach | None = None


class Bench:
    """The fp32 file and the images that other precisions are held against; its logits are computed once.

    int8's ranges are measured on `num_calibration` val images; the `temperature` is that of the classifier.
    """

    def __init__(
        self, full: Path, images: Mapping[JudgedOn, Images], num_calibration: int, temperature: float = 1.0
    ) -> None:
        self.full, self.images, self.temperature = full, images, temperature
        session = self._session(full)
        self.layout = layout_of(session)
        self.full_NC = {split: self._logits(session, split) for split in images}
        self.calibration_NHWC = images["val"].pixels_NHWC[:num_calibration]

    def _session(self, path: Path) -> Any:
        return ort.InferenceSession(str(path), own_options(), providers=[CPU_PROVIDER])

    def _logits(self, session: Any, split: JudgedOn) -> Logits:
        return onnx_logits(session, self.images[split].pixels_NHWC, JUDGING_BATCH, f"{split} in another precision")

    def calibration(self, size: int) -> list[NDArray[Any]]:
        """Val images to calibrate with, in the model's layout, in batches."""
        return [as_input(batch, self.layout) for batch in batches(self.calibration_NHWC, size)]

    def logits(self, path: Path, split: JudgedOn) -> Logits:
        """Logits of the file at `path` on a split."""
        return self._logits(self._session(path), split)

    def loss(self, found_NC: Logits, split: JudgedOn) -> Loss:
        """What a file with these logits costs on a split."""
        return loss(found_NC, self.full_NC[split], self.images[split].labels_N)

    def loss_by_class(self, found_NC: Logits, split: JudgedOn) -> list[Loss | None]:
        """The same for each class, None for those without images."""
        return loss_by_class(found_NC, self.full_NC[split], self.images[split].labels_N)

    def calibration_change(self, found_NC: Logits, split: JudgedOn) -> CalibrationChange:
        """What it changes in calibration, at the temperature that was fitted to fp32's logits."""
        return calibration_change(self.images[split].labels_N, self.temperature, self.full_NC[split], found_NC)

    def few_logits(self, path: Path) -> Logits:
        """Logits of a few val images."""
        return onnx_logits(self._session(path), self.images["val"].pixels_NHWC[:DAMAGE_IMAGES], JUDGING_BATCH)


def make(precision: Precision, bench: Bench, path: Path, work: Path, metadata: dict[str, str], max_drop: float) -> Made:
    """Write `path` in this precision and judge it. `work` is a folder for what is needed on the way."""
    made = Made(precision, path)
    if precision == "fp16":
        _make_fp16(made, bench, work, metadata)
    else:
        _make_int8(made, bench, work, metadata, max_drop)
    for split in JUDGED_ON:
        found_NC = bench.logits(path, split)
        made.losses[split] = bench.loss(found_NC, split)
        made.calibration[split] = bench.calibration_change(found_NC, split)
        if split == "test":
            made.by_class = bench.loss_by_class(found_NC, split)
    made.because += too_much(precision, made.losses, max_drop)
    changes = " ".join(
        f"{split}_top1_change={found.value:+.4f}[{found.low:+.4f},{found.high:+.4f}]"
        for split, found in made.losses.items()
    )
    log.info("precision=%s %s eligible=%s", precision, changes, not made.because)
    return made


def _make_fp16(made: Made, bench: Bench, work: Path, metadata: dict[str, str]) -> None:
    found = fp16.reaches(bench.full, work, bench.calibration(1))
    made.largest, made.because = found[0], fp16.overflows(found)
    save(tidy(fp16.to_fp16(bench.full), metadata), made.path)


def _make_int8(made: Made, bench: Bench, work: Path, metadata: dict[str, str], max_drop: float) -> None:
    """Everything the recipe allows; where val loses too much, without the parts that hurt most, in growing numbers."""
    model = onnx.load(bench.full)
    recipe, parts = int8.recipe_of(model), int8.parts_of(model)
    ranges = work / "ranges.json"
    int8.measure_ranges(bench.full, ranges, recipe, bench.calibration(CALIBRATION_BATCH))

    def quantised(whole: Sequence[str], path: Path) -> Path:
        int8.quantise(model, path, ranges, recipe, whole)
        return path

    def logits_without(whole: Sequence[str]) -> Logits:
        return bench.few_logits(quantised(whole, work / "part.onnx"))

    best = quantised([], work / "int8.onnx")
    if not within(bench.loss(bench.logits(best, "val"), "val"), max_drop):
        damage = int8.damage_by_part(parts, logits_without, bench.full_NC["val"][:DAMAGE_IMAGES])
        for made.kept_fp32 in int8.exclusions(damage, parts):
            quantised([name for part in made.kept_fp32 for name in parts[part]], best)
            if within(bench.loss(bench.logits(best, "val"), "val"), max_drop):
                break
    save(tidy(onnx.load(best), metadata), made.path)


def ship(folder: Path, precision: Precision, keep_fp32: bool) -> None:
    """Put the file of this precision in the place of model.onnx; the fp32 file is kept beside it or goes."""
    if precision == "fp32":
        return
    model, chosen = folder / MODEL_FILE, folder / variant_file(precision)
    full, shipped = onnx.load(model), onnx.load(chosen)
    remove(model)
    remove(chosen)
    save(shipped, model)
    if keep_fp32:
        save(full, folder / variant_file("fp32"))
    if not any(chosen.parent.iterdir()):
        chosen.parent.rmdir()
