"""Predictions from the onnx_model artifact alone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from components.interchange.blobs import open_blobs
from components.interchange.errors import BadInput
from components.interchange.onnx_model import open_model
from components.interchange.scoring import softmax
from pipelines.cli import app
from pipelines.pictures import Picture
from pipelines.predict import Unreadable, _answers, _batches, predict
from tests.permissions import permissions_hold


def golden_of(folder: Path) -> list[dict[str, object]]:
    samples: list[dict[str, object]] = json.loads((folder / "golden.json").read_text())["samples"]
    return samples


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_probabilities_are_those_of_the_golden_samples(tiny_onnx_model: Path, batch_size: int) -> None:
    samples = golden_of(tiny_onnx_model)
    paths = [str(tiny_onnx_model / str(sample["source"])) for sample in samples]
    found = list(predict(tiny_onnx_model, paths, batch_size))
    assert [prediction.name for prediction in found] == paths
    for sample, prediction in zip(samples, found, strict=True):
        expected_C = softmax(np.array([sample["logits"]], np.float32))[0]
        assert list(prediction.probabilities) == ["blue", "green", "red"]
        np.testing.assert_allclose(list(prediction.probabilities.values()), expected_C, atol=1e-5)
        assert prediction.top_class == ["blue", "green", "red"][int(expected_C.argmax())]


def test_logits_are_divided_by_the_temperature_of_the_card(
    tiny_onnx_model: Path, copied: Callable[[Path], Path]
) -> None:
    folder = copied(tiny_onnx_model)
    with_temperature(folder, 0.25, 0.25)
    sample = golden_of(folder)[0]
    (found,) = predict(folder, [str(folder / str(sample["source"]))])
    expected_C = softmax(np.array([sample["logits"]], np.float64) / 0.25)[0]
    np.testing.assert_allclose(list(found.probabilities.values()), expected_C, atol=1e-5)
    assert not np.allclose(softmax(np.array([sample["logits"]]))[0], expected_C, atol=1e-3)


def with_temperature(folder: Path, on_card: float | None, in_file: float | None) -> None:
    """Write a temperature into an onnx_model's card and file; None takes it out, as before it existed."""
    card = json.loads((folder / "card.json").read_text())
    model = onnx.load(folder / "model.onnx")
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    del card["temperature"], card["sha256"], metadata["temperature"]
    if on_card is not None:
        card["temperature"] = on_card
    if in_file is not None:
        metadata["temperature"] = json.dumps(in_file)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, folder / "model.onnx")
    (folder / "card.json").write_text(json.dumps(card))


def test_a_model_from_before_the_temperature_still_answers(
    tiny_onnx_model: Path, copied: Callable[[Path], Path]
) -> None:
    folder = copied(tiny_onnx_model)
    with_temperature(folder, None, None)
    image = str(folder / str(golden_of(folder)[0]["source"]))
    (found,), (now,) = predict(folder, [image]), predict(tiny_onnx_model, [image])
    assert found.probabilities == now.probabilities


@pytest.mark.parametrize(
    ("on_card", "in_file", "words"),
    [
        (2.0, None, "'temperature' is 1.0, the card says 2.0"),
        (None, 2.0, "'temperature' is 2.0, the card says 1.0"),
        (0.0, 0.0, r"temperature \(input should be greater than 0\)"),
    ],
)
def test_a_temperature_that_card_and_file_do_not_share_or_that_is_none_is_refused(
    tiny_onnx_model: Path, copied: Callable[[Path], Path], on_card: float | None, in_file: float | None, words: str
) -> None:
    folder = copied(tiny_onnx_model)
    with_temperature(folder, on_card, in_file)
    with pytest.raises(BadInput, match=words):
        predict(folder, ["any.png"])


def picture(path: Path, colour: tuple[int, int, int] = (200, 60, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 50), colour).save(path)
    return path


def test_an_unreadable_image_costs_the_others_nothing(tiny_onnx_model: Path, tmp_path: Path) -> None:
    good = picture(tmp_path / "schön & gut.png")
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    thin = tmp_path / "thin.png"
    Image.new("RGB", (400, 20)).save(thin)
    asked = [str(path) for path in (text, tmp_path / "missing.png", good, thin, good)]
    found = list(predict(tiny_onnx_model, asked, 2))
    assert [one.name for one in found] == asked
    reasons = [one.reason.split(":")[0] if isinstance(one, Unreadable) else None for one in found]
    assert reasons == ["not an image", "No such file or directory", None, "too elongated", None]


def test_a_folder_gives_every_file_below_it_in_order(tiny_onnx_model: Path, tmp_path: Path) -> None:
    names = ["b/2.png", "a.png", "b/1.png", ".hidden/no.png", "c/.no.png", "c/Thumbs.db"]
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 50)).save(tmp_path / "images" / name, "PNG")
    single = picture(tmp_path / "z.png")
    found = list(predict(tiny_onnx_model, [str(single), str(tmp_path / "images")], 3))
    expected = [single, *(tmp_path / "images" / name for name in ("a.png", "b/1.png", "b/2.png"))]
    assert [one.name for one in found] == [str(path) for path in expected]


def test_a_folder_hides_nothing_that_it_leads_to(tiny_onnx_model: Path, tmp_path: Path) -> None:
    """Neither what is linked nor what nobody may list is left out; pipes and devices have no end, films a late one."""
    picture(tmp_path / "elsewhere" / "1.png")
    images = tmp_path / "images"
    (images / "closed").mkdir(parents=True, mode=0o000)
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "round").symlink_to(images)
    os.mkfifo(images / "pipe")
    (images / "zeros").symlink_to("/dev/zero")
    with (images / "film").open("wb") as empty:
        empty.truncate(3 << 30)
    with permissions_hold():
        found = list(predict(tiny_onnx_model, [str(images)]))
        refused, film, linked, pipe, zeros = [
            (Path(one.name).name, isinstance(one, Unreadable) and one.reason) for one in found
        ]
        (alone,) = predict(tiny_onnx_model, [str(images / "closed")])
    (images / "closed").chmod(0o755)
    assert refused == ("closed", "Permission denied")
    assert linked == ("1.png", False)
    assert pipe == ("pipe", "this is no file") and zeros == ("zeros", "this is no file")
    assert film == ("film", f"too large: {3 << 30} bytes; at most {1 << 30} are read")
    assert isinstance(alone, Unreadable) and alone.reason == "Permission denied"


def test_images_of_a_bucket(tiny_onnx_model: Path, tmp_path: Path, s3_store: str) -> None:
    blobs = open_blobs(f"{s3_store}/photos")
    for number, colour in enumerate([(200, 60, 40), (40, 60, 200)]):
        blobs.put(f"day/{number}.png", picture(tmp_path / f"{number}.png", colour).read_bytes())
    bucket, key = s3_store.removeprefix("s3://").split("/", 1)
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{key}/photos/made in a console/")
    uri, local = f"{s3_store}/photos", [str(tmp_path / f"{number}.png") for number in (0, 1)]
    there, here = list(predict(tiny_onnx_model, [uri])), list(predict(tiny_onnx_model, local))
    assert [one.name for one in there] == [f"{uri}/day/0.png", f"{uri}/day/1.png"]
    assert [one.probabilities for one in there] == [one.probabilities for one in here]
    (one, gone) = predict(tiny_onnx_model, [f"{uri}/day/1.png", f"{uri}/day/7.png"])
    assert one.probabilities == here[1].probabilities
    assert isinstance(gone, Unreadable) and gone.reason == "there is no such object"


def test_more_images_than_are_decoded_ahead_keep_their_order(tiny_onnx_model: Path, tmp_path: Path) -> None:
    shades = [(number * 10, 255 - number * 10, 90) for number in range(25)]
    paths = [str(picture(tmp_path / f"{number:02d}.png", shade)) for number, shade in enumerate(shades)]
    one_by_one = [next(predict(tiny_onnx_model, [path])).probabilities for path in paths]
    for found, expected in zip(predict(tiny_onnx_model, paths, 4), one_by_one, strict=True):
        np.testing.assert_allclose(list(found.probabilities.values()), list(expected.values()), atol=1e-5)


def run(*arguments: str) -> tuple[int, list[str], str]:
    done = CliRunner().invoke(app, ["predict", *arguments])
    return done.exit_code, done.stdout.splitlines(), done.stderr


def test_files_that_take_much_memory_are_read_one_after_the_other(
    tiny_onnx_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, card = open_model(tiny_onnx_model)
    for reader in ("pipelines.predict", "components.interchange.read_ahead"):
        monkeypatch.setattr(f"{reader}.bytes_to_read_ahead", lambda: 1000)
    data, read = picture(tmp_path / "1.png").read_bytes(), list[str]()

    def pictures(num_bytes: int) -> Iterator[Picture]:
        for name in map(str, range(6)):
            yield Picture(name, lambda name=name: read.append(name) or data, lambda: num_bytes)

    huge = _answers(session, card, pictures(600), 8, 2)
    assert next(huge).name == "0" and read == ["0"]
    assert [one.name for one in huge] == ["1", "2", "3", "4", "5"]
    assert [len(batch.pictures) for batch in _batches(pictures(100), 8)] == [2, 2, 2]


def test_the_command_prints_a_line_an_image_and_ends_with_2_where_one_is_unreadable(
    tiny_onnx_model: Path, tmp_path: Path
) -> None:
    good, bad = str(picture(tmp_path / "good.png")), str(tmp_path / "bad.png")
    code, lines, error = run(good, bad, good, "--model", str(tiny_onnx_model))
    assert code == 2
    assert [line.split("  ")[0] for line in lines] == [good, good]
    assert all(name in lines[0] for name in ("blue 0.", "green 0.", "red 0."))
    assert error == f"graft: {bad}: No such file or directory\n"
    assert run(good, "--model", str(tiny_onnx_model))[0] == 0


def test_as_json_every_line_is_an_object(tiny_onnx_model: Path, copied: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = copied(tiny_onnx_model)
    threshold = {"confidence": 1.0, "precision": 0.99}
    card = json.loads((folder / "card.json").read_text()) | {"threshold": threshold, "sha256": {}}
    (folder / "card.json").write_text(json.dumps(card))
    model = onnx.load(folder / "model.onnx")
    metadata = {prop.key: prop.value for prop in model.metadata_props} | {"threshold": json.dumps(threshold)}
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, folder / "model.onnx")
    good, bad = str(picture(tmp_path / "good.png")), str(tmp_path / "bad.png")
    code, lines, _ = run(good, bad, "--json", "--model", str(folder))
    first, second = map(json.loads, lines)
    assert code == 2
    assert first["image"] == good and first["sure"] is False
    assert first["confidence"] == first["probabilities"][first["class"]] == max(first["probabilities"].values())
    assert second == {"image": bad, "error": "No such file or directory"}
    assert run(good, "--model", str(folder))[1][0].endswith("unsure")


def test_names_that_no_encoding_holds_break_neither_line_nor_json(tiny_onnx_model: Path, tmp_path: Path) -> None:
    """Linux allows any byte in a name but two; a terminal, and JSON, do not."""
    image = picture(tmp_path / "plain.png")
    names = [os.fsdecode(name) for name in (b"bad\xff.png", b"new\nline.png", "schön.png".encode())]
    for name in names:
        shutil.copy(image, tmp_path / name)
    asked = [str(tmp_path / name) for name in names]
    code, lines, _ = run(*asked, "--json", "--model", str(tiny_onnx_model))
    assert (code, [json.loads(line)["image"] for line in lines]) == (0, asked)
    code, lines, _ = run(*asked, "--model", str(tiny_onnx_model))
    shown = [line.split("  ")[0].rpartition("/")[2] for line in lines]
    assert (code, shown) == (0, ["bad\\udcff.png", "new\\nline.png", "schön.png"])


def test_logits_that_are_no_numbers_are_no_answer(
    tiny_onnx_model: Path, copied: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = copied(tiny_onnx_model)
    model = onnx.load(folder / "model.onnx")
    (bias,) = [tensor for tensor in model.graph.initializer if tuple(tensor.dims) == (3,) and "fc" in tensor.name]
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([0, np.inf, np.nan], np.float32), bias.name))
    onnx.save(model, folder / "model.onnx")
    card = json.loads((folder / "card.json").read_text()) | {"sha256": {}}
    (folder / "card.json").write_text(json.dumps(card))
    code, lines, error = run(str(picture(tmp_path / "good.png")), "--json", "--model", str(folder))
    assert (code, len(lines)) == (2, 1)
    assert "logits that are not finite" in json.loads(lines[0])["error"] and "not finite" in error


def test_no_images_and_a_damaged_model_are_refused_at_once(
    tiny_onnx_model: Path, copied: Callable[[Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="no images were given"):
        predict(tiny_onnx_model, [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty holds no files"):
        predict(tiny_onnx_model, [str(tmp_path / "empty")])
    folder = copied(tiny_onnx_model)
    (folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BadInput, match="cannot be loaded"):
        predict(folder, ["any.png"])


def test_needs_neither_torch_nor_pyarrow(tiny_onnx_model: Path) -> None:
    image = tiny_onnx_model / str(golden_of(tiny_onnx_model)[0]["source"])
    program = (
        "import sys\nfrom pathlib import Path\nfrom pipelines.predict import predict\n"
        f"(found,) = predict(Path({str(tiny_onnx_model)!r}), [{str(image)!r}], 1)\n"
        "print(found.top_class, *sorted({'torch', 'pyarrow', 'scipy', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() in (["blue"], ["green"], ["red"])
