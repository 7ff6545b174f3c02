"""Does a serving client answer as the model's golden samples do, and if not, what does it do differently?

The client gets the golden source files, and pictures made of them that show what they cannot (`probes.py`). Each
fault that is known is computed with the model itself: the one whose answers are the client's is what it does. That a
fault explains a departure convicts a client however small the departure is: chance does not point in a fault's
direction. One that shows on few images is sought on those (`telling.py`). What nothing explains convicts it from
`slack` on, which is what another decoder may do, or where it is far beyond that on some images.
Legend: N images, C classes.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from components.interchange.cards import OnnxCard
from components.interchange.errors import BadInput
from components.interchange.onnx_model import INPUT_NAME, MODEL_FILE, OUTPUT_NAME, open_model
from components.interchange.preprocessing import Preprocessing
from components.interchange.progress import progress
from components.interchange.providers import own_options
from pipelines import faults, rescaling
from pipelines.answer_scale import Logits, Scale, rms, scale_of
from pipelines.client import Answers, ask
from pipelines.orders import answer_order, class_order
from pipelines.probes import golden, made_of
from pipelines.telling import far_off, left_of_it, rms_by_image

SLACK = 5.0  # Times the effect of rounding; libjpeg's fast and inexact decoder has four times.
LEAST_SLACK = 1e-3  # What other processors and runtimes do to the last digits.
ROUNDING = 3.0  # Times what rounding does to the model's own answers, which it does to a right client's too.
EXPLAINS = 0.34  # A fault explains a departure of which it leaves at most this share; what rounding explains is none.
AS_WELL = 1.5  # Faults that leave up to so many times the least are named beside it.
Distance = Callable[[Logits], float]


@dataclass(frozen=True)
class Conformance:
    """Whether a client conforms; `departs` says how it does not, the likeliest first: subject and words."""

    conforms: bool
    departs: list[tuple[str, str]]
    images: int
    flips: int
    distance: float
    slack: float
    decimals: int | None  # That the client rounds its answers to.
    far: int  # Images whose answers are far beyond what another decoder may do to them.

    def words(self) -> str:
        """The finding in one line."""
        basis = f"{self.images} images, distance {self.distance:.4f}, slack {self.slack:.4f}, {self.flips} other top1"
        basis += "" if self.decimals is None else f", answers rounded to {self.decimals} decimals"
        if self.conforms:
            return f"conforms ({basis})"
        told = "; or ".join(f"{subject}: {words}" for subject, words in self.departs)
        where = f", on {self.far} images alone" if self.far and self.distance <= self.slack else ""
        return f"departs: {told or f'in a way that no single known fault explains{where}'} ({basis})"


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
    samples, written_NC = golden(model)
    network = FloatModel(model, card)
    agreed = faults.as_agreed(card.preprocessing)
    _check_golden(written_NC, network.logits(agreed(sample.data) for sample in samples))
    with tempfile.TemporaryDirectory() as folder:
        probes = samples + made_of(samples, card.preprocessing, Path(folder))
        answers = ask(client, [probe.path for probe in probes], card.classes, timeout_s)
    return _judged(network, card, [probe.data for probe in probes], answers)


def _judged(network: FloatModel, card: OnnxCard, files: Sequence[bytes], answers: Answers) -> Conformance:
    scale = scale_of(answers, card.temperature)
    said_NC = scale.of_answers(answers.values_NC)
    pixels = [faults.as_agreed(card.preprocessing)(data) for data in files]
    logits_NC = network.logits(pixels)
    right_NC = scale.of_logits(logits_NC)

    def apart(logits_NC: Logits, temperature: float | None = None) -> float:
        return rms(scale.of_logits(logits_NC, temperature) - said_NC)

    moves_KNC = [scale.of_logits(other_NC) - right_NC for other_NC in _as_others(network, card.preprocessing, files)]
    distance, slack = apart(logits_NC), max(LEAST_SLACK, SLACK * max(map(rms, moves_KNC)))
    slack = max(slack, ROUNDING * scale.rounding(logits_NC))
    slack_N = np.maximum(LEAST_SLACK, SLACK * np.max([rms_by_image(moves_NC) for moves_NC in moves_KNC], axis=0))
    slack_N = np.maximum(slack_N, ROUNDING * scale.rounding(logits_NC))
    flips = int((said_NC.argmax(axis=1) != right_NC.argmax(axis=1)).sum())
    far = far_off(said_NC, right_NC, slack_N)
    basis = len(files), flips, distance, slack, scale.decimals, far

    def beyond_rounding(answers_NC: Logits) -> float:
        """How far the client is from these answers, or from them as another decoder or resize would move them."""
        return min(rms(answers_NC - said_NC), *(rms(answers_NC + moves_NC - said_NC) for moves_NC in moves_KNC))

    unexplained = beyond_rounding(right_NC)
    if unexplained <= LEAST_SLACK:
        return Conformance(True, [], *basis)
    found, partly = [], []
    if card.temperature != 1.0 and scale.kind == "probabilities":
        found.append((apart(logits_NC, 1.0), "temperature", "probabilities are not divided by the temperature"))
    elif card.temperature != 1.0:
        words = "logits are divided by the temperature, which is for probabilities alone"
        found.append((apart(logits_NC / card.temperature), "temperature", words))
    found += class_order(right_NC, said_NC, card.classes)
    found += answer_order([right_NC, *(right_NC + moves_NC for moves_NC in moves_KNC)], said_NC, LEAST_SLACK)
    for fault in progress(list(faults.faults(card.preprocessing)), "faults", unit=" faults"):
        faulty_NC = scale.of_logits(network.logits(map(fault.pixels_of, files)))
        found.append((beyond_rounding(faulty_NC), fault.subject, fault.words))
        partly.append((left_of_it(said_NC, right_NC, faulty_NC, slack_N), fault.subject, fault.words))
    found.sort(key=lambda one: one[0])
    enough = max(EXPLAINS * unexplained, slack if distance > slack else 0.0)
    if found[0][0] > enough:
        found.insert(0, _rescaled(network, card, pixels, said_NC, right_NC, apart, distance <= slack, scale))
    if found[0][0] > enough and distance <= slack and min(partly)[0] <= EXPLAINS:
        found, enough = sorted(partly), EXPLAINS
    best = found[0][0]
    departs = [
        (subject, words)
        for left, subject, words in found
        if left <= enough and left <= max(AS_WELL * best, LEAST_SLACK)
    ]
    return Conformance(distance <= slack and not far and not departs, departs, *basis)


def _as_others(network: FloatModel, contract: Preprocessing, files: Sequence[bytes]) -> list[Logits]:
    """The model's answers to pixels that Pillow resizes, and to pixels of which some are a level off before the resize.

    What they differ by from the right ones is what a client does whose decoder and resize round otherwise.
    """
    others = (faults.resized_by_pillow(contract), faults.decoded_otherwise(contract))
    return [network.logits(map(pixels_of, files)) for pixels_of in others]


def _rescaled(
    network: FloatModel,
    card: OnnxCard,
    pixels: Sequence[faults.Pixels],
    said_NC: Logits,
    right_NC: Logits,
    apart: Distance,
    is_small: bool,
    scale: Scale,
) -> tuple[float, str, str]:
    """The other mean and standard deviation that explain most, and what they leave; pixels end at 0 and 255, or not."""
    contract, found = card.preprocessing, []
    for beyond_a_byte in (False, True):

        def logits(images: Sequence[faults.Pixels], far: float = np.inf if beyond_a_byte else 0.0) -> Logits:
            return network.logits(image.clip(-far, 255 + far) for image in images)

        if is_small:
            best = rescaling.fitted(contract, pixels, lambda images: scale.of_logits(logits(images)), right_NC, said_NC)
        else:
            best = rescaling.searched(contract, pixels, lambda images: apart(logits(images)))
        found.append((apart(logits(rescaling.seen(contract, pixels, best))), "normalisation", best.words(contract)))
    return min(found)


def _check_golden(written_NC: Logits, now_NC: Logits) -> None:
    """BadInput when this very machine does not get the golden logits: no client could be judged by them."""
    worst = float(np.abs(written_NC - now_NC).max()) if np.isfinite(written_NC).all() else np.inf
    if worst > 0.05 * max(1.0, float(np.abs(now_NC).max())):
        raise BadInput(
            f"the model does not answer its own golden samples as written down (logits differ by {worst:.2g}). "
            "The model, golden.json or a golden file was altered; export it again."
        )


def _session(folder: Path) -> Any:
    return open_model(folder)[0]


def _float_session(path: Path) -> Any:
    """The same graph with an input of float instead of uint8: its first nodes only move or cast pixels."""
    try:
        import onnx
    except ImportError:
        raise BadInput("conformance needs the package onnx. Install graft[conformance].") from None
    # Weights beside the file stay there: they are more than a message may hold.
    model = onnx.load(path, load_external_data=False)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    options = own_options()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
