"""Serving clients that keep to the contract, and one for each fault, which is named."""

import hashlib
import io
import json
import os
import select
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, ImageEnhance
from typer.testing import CliRunner

from components.export_onnx.files import save
from components.export_onnx.golden import write_golden
from components.export_onnx.spec import ExportOnnx
from components.interchange.cards import read_onnx_card
from components.interchange.cli import main
from components.interchange.errors import BadInput
from components.interchange.onnx_model import logits_of, open_model
from components.interchange.pixels import preprocess
from pipelines.cli import app
from pipelines.client import ask
from pipelines.conformance import LEAST_SLACK, FloatModel, check

CLIENT = Path(__file__).with_name("serving_client.py")


def scene(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Something with edges, fine texture and colours that differ from side to side."""
    y, x = np.mgrid[:height, :width]
    stripes = 60 * np.sin(x * rng.uniform(0.3, 1.5) + y * rng.uniform(0.3, 1.5))
    slopes = np.stack([255 * x / width, 255 * y / height, 255 * (1 - x / width)], axis=-1)
    noise = rng.normal(0, 30, (height, width, 3))
    return Image.fromarray(
        np.clip(rng.uniform(0.3, 1, 3) * slopes + stripes[..., None] + noise, 0, 255).astype(np.uint8)
    )


def with_scenes(folder: Path) -> Path:
    """Golden samples that are larger than the model's input, and not square."""
    shutil.rmtree(folder / "golden", ignore_errors=True)
    originals, rng = {}, np.random.default_rng(3)
    for number in range(6):
        stream = io.BytesIO()
        scene(rng, 160 + 10 * number, 120).save(stream, "JPEG", quality=95)
        path = folder.parent / f"{number}.jpg"
        path.write_bytes(stream.getvalue())
        originals[hashlib.sha256(stream.getvalue()).hexdigest()] = path
    session, read = open_model(folder)
    write_golden(folder, session, originals, read.preprocessing, 6)
    return folder


@pytest.fixture(scope="module")
def float_model(tmp_path_factory, tiny_dataset, tiny_classifier):
    """The tiny model with an input of floats, as servers want it."""
    folder = tmp_path_factory.mktemp("floats") / "model"
    argv = ["--dataset", str(tiny_dataset), "--selected", str(tiny_classifier), "--golden-samples", "1"]
    argv += ["--input", "float32-nchw", "--parity-samples", "2", "--device", "cpu"]
    assert main(ExportOnnx, [*argv, "--onnx-model", str(folder), "--report", str(folder.parent / "report")]) == 0
    return with_scenes(folder)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("none", None),
        ("normalised twice", "pixels are normalised twice"),
        ("not divided", "pixels are not divided by 255"),
        ("other std", "as if with another mean or std: about mean ("),
    ],
)
def test_a_client_that_feeds_floats(float_model, fault, words):
    found = check(float_model, command(fault, float_model))

    assert found.conforms == (words is None), found.words()
    if words is not None:
        assert found.departs[0][0] == "normalisation", found.words()
        assert found.departs[0][1].startswith(words)


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_onnx_model):
    """The tiny model with a temperature, and golden samples that are larger than its input and not square."""
    folder = tmp_path_factory.mktemp("conformance") / "model"
    folder.mkdir()
    card = json.loads((tiny_onnx_model / "card.json").read_text()) | {"temperature": 0.5, "sha256": {}}
    (folder / "card.json").write_text(json.dumps(card))
    file = onnx.load(tiny_onnx_model / "model.onnx")
    metadata = {prop.key: prop.value for prop in file.metadata_props} | {"temperature": "0.5"}
    onnx.helper.set_model_props(file, metadata)
    onnx.save(file, folder / "model.onnx")
    return with_scenes(folder)


def command(fault, model):
    return shlex.join([sys.executable, str(CLIENT), fault, str(model)])


@pytest.mark.parametrize("fault", ["none", "other decoder", "probabilities", "probabilities 4 decimals"])
def test_a_client_that_keeps_to_the_contract_conforms(model, fault):
    found = check(model, command(fault, model))

    assert found.conforms, found.words()
    assert found.departs == []
    assert found.images == 13, "six golden samples, three of them again on their side, four mosaics"


def altered(folder, alter):
    """The model with other golden source files, and what it answers to them."""
    golden = json.loads((folder / "golden.json").read_text())
    network, agreed = open_model(folder)
    for sample in golden["samples"]:
        path = folder / sample["source"]
        alter(Image.open(path)).save(path, quality=95)
        path = path.rename(path.with_stem(hashlib.sha256(path.read_bytes()).hexdigest()))
        sample["source"] = path.relative_to(folder).as_posix()
        sample["logits"] = logits_of(network, preprocess(path.read_bytes(), agreed.preprocessing)[None])[0].tolist()
    (folder / "golden.json").write_text(json.dumps(golden))
    return folder


def test_another_resize_library_is_not_taken_for_a_fault_that_is_computed_with_it(model, copied, monkeypatch):
    """Where all images are square no rounding of the long side shows: that fault is Pillow's resize, and no more."""
    monkeypatch.setattr("pipelines.conformance.made_of", lambda *_: [])
    monkeypatch.setattr("pipelines.conformance.LEAST_SLACK", 1e-6)
    square = altered(copied(model), lambda image: image.crop((0, 0, 120, 120)))

    found = check(square, command("none", square))

    assert 1e-6 < found.distance < found.slack
    assert found.conforms, found.words()


def test_another_resize_library_hides_no_fault_that_moves_little_more(model, copied, monkeypatch):
    """Of images that are almost grey the order of channels moves the answers about as far as Pillow's resize does."""
    monkeypatch.setattr("pipelines.conformance.made_of", lambda *_: [])
    monkeypatch.setattr("pipelines.conformance.LEAST_SLACK", 1e-6)
    greyish = altered(copied(model), lambda image: ImageEnhance.Color(image).enhance(0.02))

    found = check(greyish, command("BGR", greyish))

    assert found.distance < found.slack
    assert ("colour order", "the channels are BGR, not RGB") in found.departs, found.words()


@pytest.mark.parametrize(
    ("fault", "subject", "words"),
    [
        ("no EXIF", "orientation", "the EXIF orientation is not applied"),
        ("other filter", "resize filter", "the filter is nearest, not bicubic"),
        ("lanczos", "resize filter", "the filter is lanczos, not bicubic"),
        ("no antialias", "resize filter", "bilinear without antialiasing (as OpenCV resizes)"),
        ("squash", "resize size", "the image is squashed to 32x32 instead of resized and cropped"),
        ("long side", "resize size", "the long side is rounded to the nearest pixel, not down"),
        ("crop to even", "crop", "the crop's offset is rounded up, not down (torchvision rounds to even)"),
        ("BGR", "colour order", "the channels are BGR, not RGB"),
        ("reshaped", "layout", "channels-first pixels are reshaped to channels-last, not transposed"),
        ("probabilities raw", "temperature", "probabilities are not divided by the temperature"),
        ("divided logits", "temperature", "logits are divided by the temperature, which is for probabilities alone"),
    ],
)
def test_a_fault_is_named(model, fault, subject, words):
    found = check(model, command(fault, model))

    assert not found.conforms
    assert found.departs[0] == (subject, words), found.words()
    assert found.words().startswith(f"departs: {subject}: {words}")


def test_rounded_probabilities_are_told_and_too_few_decimals_refused(model):
    assert "answers rounded to 4 decimals" in check(model, command("probabilities 4 decimals", model)).words()
    with pytest.raises(BadInput, match="probabilities have 2 decimals, expected at least 3: it rounds"):
        check(model, command("probabilities 2 decimals", model))


@pytest.mark.parametrize(("fault", "code"), [("none", 0), ("BGR", 3)])
def test_as_json_the_sentence_goes_to_standard_error(model, fault, code):
    words = ["conformance", "--model", str(model), "--client", command(fault, model), "--json"]
    done = CliRunner().invoke(app, words)

    assert done.exit_code == code, done.stderr
    assert json.loads(done.stdout)["conforms"] == (code == 0)
    assert "conforms (" in done.stderr or "departs: colour order" in done.stderr


def test_another_mean_is_named_and_told(model):
    found = check(model, command("wrong mean", model))

    assert not found.conforms
    assert found.departs[0][0] == "normalisation", found.words()
    assert "mean (0." in found.departs[0][1]


@pytest.mark.parametrize(("fault", "subject"), [("BGR", "colour order"), ("little mean", "normalisation")])
def test_a_fault_is_told_however_large_the_slack_is(model, monkeypatch, fault, subject):
    """Real models may move more by another decoder than by a fault."""
    monkeypatch.setattr("pipelines.conformance.SLACK", 1e4)
    found = check(model, command(fault, model))

    assert LEAST_SLACK < found.distance < found.slack
    assert not found.conforms
    assert found.departs[0][0] == subject, found.words()


def test_what_no_known_fault_explains_departs_all_the_same(model):
    found = check(model, command("other gamma", model))

    assert not found.conforms
    assert found.distance > found.slack


def test_shuffled_classes_are_named_one_by_one(model):
    found = check(model, command("shuffled classes", model))

    subject, words = found.departs[0]
    assert subject == "class order"
    assert words == (
        "the classes are shuffled: green stands where blue belongs; red stands where green belongs; "
        "blue stands where red belongs"
    )
    assert found.flips > 0


def test_answers_in_another_order_than_the_images_are_told(model):
    found = check(model, command("other order", model))

    (told,) = found.departs
    assert told[0] == "answer order"
    assert told[1].startswith("the answers do not stand in the order of the images: line 1 is the answer to image ")


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ("no-such-program --at-all", "cannot be run"),
        ("", "cannot be run: it is empty"),
        ("false", "ended with exit code 1"),
        ("true", "printed 0 lines for 13 images"),
        ("""python3 -c "[print('{}') for _ in range(13)]" """, "expected a JSON object with logits or probabilities"),
        ("""python3 -c "[print('{\\"logits\\": [1, 2]}') for _ in range(13)]" """, "has no 3 finite numbers"),
        ("""python3 -c "[print('{\\"probabilities\\": [1, 2, 3]}') for _ in range(13)]" """, "add up to 6.000"),
        ("""python3 -c "[print('[' * 9999) for _ in range(13)]" """, "expected a JSON object"),
        ("""python3 -c "[print('{\\"probabilities\\": [1.5, -0.5, 0]}') for _ in range(13)]" """, "below 0 or above 1"),
        ("""python3 -c "[print('{\\"logits\\": [1' + '0' * 400 + ', 2, 3]}') for _ in range(13)]" """, "3 finite"),
        (
            """python3 -c "[print('{\\"logits\\": [1, 2, 3], \\"classes\\": 5}') for _ in range(13)]" """,
            "names the classes 5; the model has",
        ),
        ("printf '\\377'", "printed what is no UTF-8"),
        (
            """python3 -c "[print('{\\"logits\\": {\\"a\\": 1, \\"b\\": 2, \\"c\\": 3}}') for _ in range(13)]" """,
            "names the classes a, b, c; the model has blue, green, red",
        ),
    ],
)
def test_a_client_that_does_not_answer_as_agreed_is_told_so(model, client, words):
    with pytest.raises(BadInput, match=words):
        check(model, client)


def test_a_client_that_hangs_ends_with_all_that_it_started(tmp_path):
    """A server behind a shell's pipe would go on for ever, and keep its port."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    with pytest.raises(BadInput, match="did not answer within 1 s"):
        ask(f"sh -c 'sleep 300 >{pipe} & wait'", [Path("a.png")], ["a", "b"], 1)

    assert select.select([reading], [], [], 10)[0]  # The pipe has an end as soon as nobody can write to it.
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_weights_that_lie_beside_the_file_are_not_read_into_a_message(model, tmp_path):
    """Of over 2 GiB they would not fit into one."""
    parted = tmp_path / "model.onnx"
    save(onnx.load(model / "model.onnx"), parted, most_bytes=1000)
    assert parted.with_name("model.onnx.data").is_file()
    card = read_onnx_card(model)
    pixels = [np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)]

    np.testing.assert_array_equal(FloatModel(tmp_path, card).logits(pixels), FloatModel(model, card).logits(pixels))


def test_golden_samples_that_were_altered_judge_nobody(model, copied):
    other = copied(model)
    golden = json.loads((other / "golden.json").read_text())
    golden["samples"][0]["logits"] = [9.0, 0.0, 0.0]
    (other / "golden.json").write_text(json.dumps(golden))

    with pytest.raises(BadInput, match="does not answer its own golden samples as written down"):
        check(other, command("none", other))


def test_a_golden_file_that_was_cut_is_named(model, copied):
    other = copied(model)
    cut = sorted((other / "golden").glob("*.jpg"))[1]
    cut.write_bytes(cut.read_bytes()[:-100])

    with pytest.raises(BadInput, match=rf"golden holds files that are not those of the export: {cut.name}, "):
        check(other, "true")


def test_a_model_without_golden_samples_is_refused(model, copied):
    other = copied(model)
    (other / "golden.json").unlink()

    with pytest.raises(BadInput, match=r"has no golden\.json"):
        check(other, command("none", other))
