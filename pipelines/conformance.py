"""Does a serving client answer as the model's golden samples do, and if not, what does it do differently?

The client gets the golden source files, and copies of some of them that lie on their side and say so in EXIF. Each
fault that is known is computed with the model itself: the one whose answers are the client's is what it does.
Legend: N images, C classes.
"""

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import ExifTags, Image

from components.interchange.cards import OnnxCard
from components.interchange.errors import BadInput
from components.interchange.onnx_model import INPUT_NAME, MODEL_FILE, OUTPUT_NAME, open_model
from components.interchange.pixels import decode
from components.interchange.progress import progress
from components.interchange.scoring import softmax
from pipelines import faults
from pipelines.client import Answers, Kind, ask

LEAST_PROBABILITY = 1e-6
TURNED = 3  # Copies that lie on their side.
SLACK = 3.0  # Times the effect of one level of 255 that another decoder may have.
LEAST_SLACK = 1e-3
EXPLAINS = 0.34  # A fault explains a departure of which it leaves at most this share.
AS_WELL = 1.5  # Faults that leave up to so many times the least are named beside it.
Logits = NDArray[np.float64]


@dataclass(frozen=True)
class Conformance:
    """Whether a client conforms; `departs` says how it does not, the likeliest first: subject and words."""

    conforms: bool
    departs: list[tuple[str, str]]
    images: int
    flips: int
    distance: float
    slack: float

    def words(self) -> str:
        """The finding in one line."""
        basis = f"{self.images} images, distance {self.distance:.4f}, slack {self.slack:.4f}, {self.flips} other top1"
        if self.conforms:
            return f"conforms ({basis})"
        told = "; or ".join(f"{subject}: {words}" for subject, words in self.departs)
        return f"departs: {told or 'in a way that no single known fault explains'} ({basis})"


class Probe(NamedTuple):
    """One file that the client is asked about."""

    path: Path
    data: bytes


class FloatModel:
    """The model with an input of floats on the scale of 0 to 255, so that faults beyond a byte can be computed."""

    def __init__(self, folder: Path, card: OnnxCard) -> None:
        self.layout = card.input
        self.session = _float_session(folder / MODEL_FILE) if card.input == "uint8-nhwc" else _session(folder)

    def logits(self, pixels_HWC: Iterable[faults.Pixels]) -> Logits:
        """Logits [N, C], an image at a time."""
        found = [self.session.run([OUTPUT_NAME], {INPUT_NAME: self._input(pixels)})[0][0] for pixels in pixels_HWC]
        return np.array(found, np.float64)

    def _input(self, pixels_HWC: faults.Pixels) -> NDArray[np.float32]:
        if self.layout == "uint8-nhwc":
            return np.ascontiguousarray(pixels_HWC[None], np.float32)
        return np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def check(model: Path, client: str, timeout_s: float = 600) -> Conformance:
    """Feed the golden source files to a client and hold its answers against what the model says to them.

    BadInput when the model has no golden samples, when they are not what the model answers, or when the client fails.
    """
    card = open_model(model)[1]
    golden = _golden(model)
    network = FloatModel(model, card)
    agreed = faults.as_agreed(card.preprocessing)
    _check_golden(golden, network.logits(agreed(sample.data) for sample, _ in golden))
    with tempfile.TemporaryDirectory() as folder:
        probes = [sample for sample, _ in golden] + _turned([sample for sample, _ in golden], Path(folder))
        answers = ask(client, [probe.path for probe in probes], card.classes, timeout_s)
    return _judged(network, card, [probe.data for probe in probes], answers)


def _judged(network: FloatModel, card: OnnxCard, files: Sequence[bytes], answers: Answers) -> Conformance:
    kind = answers.kind
    said_NC = _scale(answers.values_NC, kind, 1.0, is_answer=True)
    pixels = [faults.as_agreed(card.preprocessing)(data) for data in files]
    right_NC = network.logits(pixels)

    def apart(logits_NC: Logits, temperature: float = card.temperature) -> float:
        return float(np.sqrt(np.mean((_scale(logits_NC, kind, temperature) - said_NC) ** 2)))

    distance, slack = apart(right_NC), _slack(network, pixels, right_NC, kind, card.temperature)
    flips = int((said_NC.argmax(axis=1) != right_NC.argmax(axis=1)).sum())
    if distance <= slack:
        return Conformance(True, [], len(files), flips, distance, slack)
    found = [(apart(right_NC, 1.0), "temperature", "probabilities are not divided by the temperature")]
    if kind == "logits" or card.temperature == 1.0:
        found = []
    found += _class_order(_scale(right_NC, kind, card.temperature), said_NC, card.classes)
    for fault in progress(list(faults.faults(card.preprocessing)), "faults", unit=" faults"):
        found.append((apart(network.logits(map(fault.pixels_of, files))), fault.subject, fault.words))
    found.sort(key=lambda one: one[0])
    enough = max(slack, EXPLAINS * distance)
    if found[0][0] > enough:
        found = [_rescaling(network, card, files, apart), *found]
    best = found[0][0]
    departs = [
        (subject, words) for left, subject, words in found if left <= enough and left <= max(AS_WELL * best, slack)
    ]
    return Conformance(False, departs, len(files), flips, distance, slack)


def _scale(values_NC: Logits, kind: Kind, temperature: float, is_answer: bool = False) -> Logits:
    """Logits without what is common to all classes, or logarithms of probabilities: what can be compared."""
    if kind == "logits":
        return np.asarray(values_NC - values_NC.mean(axis=1, keepdims=True))
    probabilities_NC = values_NC if is_answer else softmax(values_NC / temperature)
    return np.asarray(np.log(np.maximum(probabilities_NC, LEAST_PROBABILITY)), np.float64)


def _slack(
    network: FloatModel, pixels: Sequence[faults.Pixels], right_NC: Logits, kind: Kind, temperature: float
) -> float:
    """The distance that a client may have whose decoder differs by a level of 255 here and there."""
    rng = np.random.default_rng(0)
    noisy = (np.clip(image + rng.integers(-1, 2, image.shape), 0, 255).astype(np.float32) for image in pixels)
    moved = _scale(network.logits(noisy), kind, temperature) - _scale(right_NC, kind, temperature)
    return max(LEAST_SLACK, SLACK * float(np.sqrt(np.mean(moved**2))))


def _class_order(right_NC: Logits, said_NC: Logits, classes: Sequence[str]) -> list[tuple[float, str, str]]:
    """The other order of classes in which the answers fit best, and what it leaves."""
    apart_CC = np.sqrt(((said_NC[:, :, None] - right_NC[:, None, :]) ** 2).mean(axis=0))
    order = apart_CC.argmin(axis=1)
    if sorted(order) != list(range(len(classes))) or (order == np.arange(len(classes))).all():
        return []
    moved = [
        f"{classes[theirs]} stands where {classes[ours]} belongs" for ours, theirs in enumerate(order) if ours != theirs
    ]
    words = "; ".join(moved[:3]) + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")
    left = float(np.sqrt(np.mean((said_NC - right_NC[:, order]) ** 2)))
    return [(left, "class order", f"the classes are shuffled: {words}")]


def _rescaling(
    network: FloatModel, card: OnnxCard, files: Sequence[bytes], apart: Callable[[Logits], float]
) -> tuple[float, str, str]:
    """The other mean and standard deviation that explain most: searched coarsely, then finer around the best."""

    def left(scale: float, shift: float) -> float:
        return apart(network.logits(map(faults.rescaled(card.preprocessing, scale, shift), files)))

    scale, shift, step, reach = 1.0, 0.0, 0.6, 0.2
    for _ in range(4):
        grid = [
            (scale * (1 + step) ** power, shift + reach * offset)
            for power in (-1, 0, 1)
            for offset in (-1, -0.5, 0, 0.5, 1)
        ]
        scale, shift = min(grid, key=lambda pair: left(*pair))
        step, reach = step / 2, reach / 2
    mean = ", ".join(f"{value - shift:.2f}" for value in card.preprocessing.mean)
    std = ", ".join(f"{value / scale:.2f}" for value in card.preprocessing.std)
    return left(scale, shift), "normalisation", f"as if with another mean or std: about mean ({mean}), std ({std})"


def _golden(folder: Path) -> list[tuple[Probe, NDArray[np.float64]]]:
    """The golden samples: source file and logits."""
    path = folder / "golden.json"
    try:
        samples = json.loads(path.read_text(encoding="utf-8"))["samples"]
        found = [
            (Probe(folder / one["source"], (folder / one["source"]).read_bytes()), np.array(one["logits"], np.float64))
            for one in samples
        ]
    except FileNotFoundError as error:
        raise BadInput(f"{folder} has no {Path(str(error.filename)).name}. Was the onnx_model copied whole?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is damaged: expected samples with source and logits ({error}).") from None
    if not found:
        raise BadInput(f"{path} names no samples: there is nothing to hold a client against. Export the model again.")
    return found


def _check_golden(golden: Sequence[tuple[Probe, NDArray[np.float64]]], now_NC: Logits) -> None:
    """BadInput when this very machine does not get the golden logits: no client could be judged by them."""
    written_NC = np.array([logits for _, logits in golden])
    worst = float(np.abs(written_NC - now_NC).max()) if np.isfinite(written_NC).all() else np.inf
    if worst > 0.05 * max(1.0, float(np.abs(now_NC).max())):
        raise BadInput(
            f"the model does not answer its own golden samples as written down (logits differ by {worst:.2g}). "
            "The model, golden.json or a golden file was altered; export it again."
        )


def _turned(samples: Sequence[Probe], folder: Path) -> list[Probe]:
    """Copies of some samples as JPEGs that lie on their side, with the EXIF orientation that sets them upright."""
    turned = []
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for number, sample in enumerate(samples[:TURNED]):
        stream = io.BytesIO()
        image = decode(sample.data).image.transpose(Image.Transpose.ROTATE_90)
        image.save(stream, "JPEG", quality=95, exif=exif)
        path = folder / f"on its side {number}.jpg"
        path.write_bytes(stream.getvalue())
        turned.append(Probe(path, stream.getvalue()))
    return turned


def _session(folder: Path) -> Any:
    return open_model(folder)[0]


def _float_session(path: Path) -> Any:
    """The same graph with an input of float instead of uint8: its first nodes only move or cast pixels."""
    try:
        import onnx
    except ImportError:
        raise BadInput("conformance needs the package onnx. Install graft[conformance].") from None
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
