"""Sources that are not like the demo: few images, many classes, odd files, wrong ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.interchange.cards import read_onnx_card
from tests.conftest import coloured_pixels, write_source
from tests.e2e.conftest import Run, graft


@pytest.fixture(scope="module")
def seven_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Portrait and landscape, PNG and JPEG, grey, CMYK, EXIF-rotated, names with spaces and other alphabets."""
    folder = tmp_path_factory.mktemp("odd") / "сім klassen 七"
    rng = np.random.default_rng(7)
    for kind in range(7):
        place = folder / f"Klasse {kind} ñ"
        place.mkdir(parents=True)
        for number in range(14):
            shape = (60, 44) if number % 2 else (44, 60)
            pixels = coloured_pixels(["blue", "green", "red"][kind % 3], rng, *shape) // (1 + kind // 3)
            image = Image.fromarray(pixels)
            name = f"bild {number} ü"
            if number == 0:
                image.convert("L").save(place / f"{name}.png")
            elif number == 1:
                image.convert("CMYK").save(place / f"{name}.jpg")
            elif number == 2:
                exif = Image.Exif()
                exif[0x0112] = 6
                image.save(place / f"{name}.jpg", exif=exif)
            else:
                image.save(place / f"{name}.{'png' if number % 3 else 'jpg'}")
    return folder


def test_seven_classes_of_odd_files(seven_classes: Path, tiny_run: Run, tmp_path: Path) -> None:
    ended = tiny_run(seven_classes, tmp_path / "store", "--strategy", "feature_extraction")

    assert ended.code == 0, ended.err
    assert ended.summary["selected"] == "feature_extraction"
    card = read_onnx_card(Path(ended.summary["onnx"]["path"]).parent)
    assert card.classes == sorted(f"Klasse {kind} ñ" for kind in range(7))
    assert ended.summary["onnx"]["parity"]["flips"] == 0


WRONG = {
    "missing source": (["run", "--source", "nowhere", "--store", "store"], "nowhere"),
    "unknown recipe": (["run", "--source", ".", "--store", "store", "--recipe", "prodution"], "production"),
    "unknown backbone": (["run", "--source", ".", "--store", "store", "--backbone", "resnt50"], "resnet50"),
    "unknown set key": (["run", "--source", ".", "--store", "store", "--set", "gate.max-p9-ms=4"], "max-p99-ms"),
    "unknown set step": (["run", "--source", ".", "--store", "store", "--set", "gat.max-p99-ms=4"], "gate"),
    "wrong set value": (["run", "--source", ".", "--store", "store", "--set", "finetune.num-epochs=0"], "num-epochs"),
    "no such model": (["predict", "--model", "nowhere", "image.png"], "nowhere"),
    "no such champion": (["predict", "--model", "champion:none", "--store", ".", "image.png"], "none"),
    "no such store": (["predict", "--model", "champion:none", "--store", "store", "image.png"], "--store store"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_one_readable_message(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, expected = WRONG[case]

    ended = graft(*words)

    assert ended.code == 2
    assert expected in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "store" / "artifacts").exists()


def test_a_refused_step_says_so_once(tiny_run: Run, tmp_path: Path) -> None:
    source = write_source(tmp_path / "one", 5, classes=["red"])

    ended = tiny_run(source, tmp_path / "store", runner="process")

    assert ended.code == 2
    assert ended.err.count("one class") == 1, ended.err
    assert "Traceback" not in ended.err
    assert list((tmp_path / "store").glob("artifacts/*")) == []
