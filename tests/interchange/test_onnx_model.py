"""A model folder that is damaged, altered or not what it says: one readable error each."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from components.export_onnx.files import save
from components.interchange.errors import BadInput
from components.interchange.onnx_model import open_model, sha256_of


def change_metadata(folder: Path, **changes: str | None) -> None:
    """Set entries of the file's own metadata; None takes one out."""
    model = onnx.load(folder / "model.onnx")
    metadata = {prop.key: prop.value for prop in model.metadata_props} | changes
    onnx.helper.set_model_props(model, {key: value for key, value in metadata.items() if value is not None})
    onnx.save(model, folder / "model.onnx")


def change_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def move_a_weight_out(folder: Path, location: str) -> None:
    """Make the first large weight external data at `location`."""
    model = onnx.load(folder / "model.onnx")
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    data = numpy_helper.to_array(weight).tobytes()
    (folder.parent / "outside.bin").write_bytes(data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(len(data))}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def with_input(folder: Path, elem_type: int, height: int, width: int = 32) -> None:
    model = onnx.load(folder / "model.onnx")
    given = model.graph.input[0].type.tensor_type
    given.elem_type = elem_type
    given.shape.dim[1].dim_value, given.shape.dim[2].dim_value = height, width
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: change_card(folder, classes=["green", "blue", "red"]), r"metadata's 'classes' is \[\"blue\""),
        (
            lambda folder: change_card(folder, classes=["blue", "green"]),
            r"output is logits: tensor\(float\) \[N, 3\], expected logits: tensor\(float\) \[N, 2\]",
        ),
        (lambda folder: change_metadata(folder, classes='["red", "green", "blue"]'), "metadata's 'classes' is"),
        (lambda folder: change_metadata(folder, provenance=None), "its metadata lack 'provenance'"),
        (lambda folder: change_metadata(folder, preprocessing=None), "its metadata lack 'preprocessing'"),
        (lambda folder: change_metadata(folder, preprocessing='{"crop_px": 7}'), "metadata's 'preprocessing' is"),
        (lambda folder: with_input(folder, TensorProto.FLOAT, 32), r"input is .*tensor\(float\).*expected.*uint8"),
        (
            lambda folder: with_input(folder, TensorProto.UINT8, 48),
            r"input is pixels: tensor\(uint8\) \[N, 48, 32, 3\], expected pixels: .*\[N, 32, 32, 3\]",
        ),
        (
            lambda folder: with_input(folder, TensorProto.UINT8, 32, width=48),
            r"altered after its export.*do not fit.*takes pixels: tensor\(uint8\) \[N, 32, 32, 3\]\. Export it",
        ),
        (
            lambda folder: move_a_weight_out(folder, "../outside.bin"),
            "cannot be loaded.*outside its own folder.*outside.bin",
        ),
        (lambda folder: move_a_weight_out(folder, "/etc/hostname"), "cannot be loaded.*outside its own folder"),
        (lambda folder: move_a_weight_out(folder, "gone.bin"), r"cannot be loaded.*beside it are not there.*gone\.bin"),
    ],
)
def test_a_model_that_was_altered_is_told_apart_and_named(tiny_onnx_model, copied, damage, words):
    folder = copied(tiny_onnx_model)
    damage(folder)

    with pytest.raises(BadInput, match=words) as error:
        open_model(folder)
    assert "\n" not in str(error.value)
    assert str(folder / "model.onnx") in str(error.value)


@pytest.mark.parametrize("kept", [0, 7, 1000, -1])
def test_a_file_that_was_cut_off_says_so(tiny_onnx_model, copied, kept):
    folder = copied(tiny_onnx_model)
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(
        BadInput,
        match=r"model\.onnx cannot be loaded by onnxruntime [\d.]+: it is no ONNX model, or is cut off\. Was it",
    ):
        open_model(folder)


def test_one_weight_that_differs_from_what_was_exported_is_found_by_its_digest(tiny_onnx_model, copied):
    folder = copied(tiny_onnx_model)
    model = onnx.load(folder / "model.onnx")
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = weight.raw_data[:-1] + bytes([weight.raw_data[-1] ^ 1])
    onnx.save(model, folder / "model.onnx")

    with pytest.raises(
        BadInput, match=r"the sha256 of model\.onnx is [0-9a-f]{64}, expected [0-9a-f]{64}\. The file or"
    ):
        open_model(folder)
    open_model(folder, hashed=False)  # Nothing else tells.


def test_weights_beside_the_file_have_a_digest_too(tiny_onnx_model, copied):
    folder = copied(tiny_onnx_model)
    save(onnx.load(folder / "model.onnx"), folder / "model.onnx", most_bytes=10_000)
    change_card(folder, sha256=sha256_of(folder, "model.onnx"))
    open_model(folder)
    data = folder / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1] + b"?")

    with pytest.raises(BadInput, match=r"the sha256 of model\.onnx\.data is"):
        open_model(folder)


def test_an_opset_that_the_runtime_lacks_is_refused_by_its_number(tiny_onnx_model, copied):
    folder = copied(tiny_onnx_model)
    model = onnx.load(folder / "model.onnx")
    model.opset_import[0].version = 99
    (folder / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(
        BadInput, match=r"it is of opset 99, this onnxruntime knows 1 to \d+\. Export it with --opset \d\d or lower"
    ):
        open_model(folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda model: setattr(model, "ir_version", 99),
            r"it is of ONNX format version 99, this onnxruntime knows 1 to",
        ),
        (
            lambda model: setattr(model.graph.node[0], "op_type", "Blah"),
            r"an operator that is invalid in the opset.*No Op registered for Blah",
        ),
    ],
)
def test_what_the_runtime_lacks_is_named_without_its_status_codes(tiny_onnx_model, copied, damage, words):
    folder = copied(tiny_onnx_model)
    model = onnx.load(folder / "model.onnx")
    damage(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(BadInput, match=words) as error:
        open_model(folder)
    assert "ONNXRuntimeError" not in str(error.value)


def test_a_file_from_before_the_whole_contract_was_written_down_still_opens(tiny_onnx_model, copied):
    folder = copied(tiny_onnx_model)
    card = json.loads((folder / "card.json").read_text())
    short = {key: card["preprocessing"][key] for key in card["preprocessing"] if key not in ("decoder", "long_side")}
    change_metadata(folder, preprocessing=json.dumps(short), threshold=None)
    change_card(folder, sha256={})

    session, read = open_model(folder)

    assert read.preprocessing.decoder == "pillow"
    assert session.get_inputs()[0].shape[1:] == [32, 32, 3]


def test_the_whole_contract_stands_in_the_file_itself(tiny_onnx_model):
    session, card = open_model(tiny_onnx_model)
    metadata = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}

    assert metadata["preprocessing"] == {
        **{name: metadata["preprocessing"][name] for name in ("mean", "std", "crop_px", "resize_short_px")},
        "antialias": True,
        "colour": "RGB",
        "crop_offset": "rounded down",
        "decoder": "pillow",
        "interpolation": "bicubic",
        "long_side": "rounded down",
        "orientation": "exif",
        "transparency": "over white",
    }
    assert metadata["classes"] == card.classes
    assert metadata["input"] == "uint8-nhwc"
    np.testing.assert_allclose(metadata["preprocessing"]["mean"], card.preprocessing.mean)
