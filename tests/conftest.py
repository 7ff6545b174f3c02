"""Tiny real things that the tests share: images in three colours, a dataset of them, a small real backbone."""

import gc
import hashlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Test processes share two cores with each other: one thread each is faster than two that fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import Phase, settings
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from components.ingest.perceptual import perceptual_hash
from components.ingest.statistics import pixel_sums
from components.interchange.artifact import write_card
from components.interchange.dataset import SPLITS
from components.interchange.ledgers import Sample, write_samples
from components.interchange.stored_images import Encoding
from tests.s3_server import S3Server, seaweedfs
from tests.shards import stored_image, write_shards

CLASSES = ["blue", "green", "red"]
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 60, 40)}
TINY_BACKBONE = "test_resnet"
TINY_INPUT_PX = 32
COUNTS = {"train": 20, "val": 10, "test": 10}


# Of a planted bug only whether tests fail matters, not the smallest example: to look for it may take five minutes.
settings.register_profile("no_shrinking", phases=[phase for phase in Phase if phase is not Phase.shrink])


def _refuse_the_network(event: str, arguments: tuple[object, ...]) -> None:
    """No test leaves this machine: a connection to anything but loopback is an error."""
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "local"
        if host not in ("local", "localhost", "::1") and not str(host).startswith("127."):
            raise ConnectionRefusedError(f"tests stay on this machine, but something connects to {address}")


sys.addaudithook(_refuse_the_network)


# Begun first, or at the end of a suite one of its workers would wait for them.
LONGEST = (
    *("e2e/test_run.py", "e2e/test_s3_store.py", "backbones/test_backbones.py", "pipelines/test_conformance.py"),
    *("export_onnx/test_precisions.py", "finetune/test_find_lr.py", "finetune/test_resume.py", "pipelines/test_kfp.py"),
    "finetune/test_processes.py",
    *("ingest/test_ingest_s3.py", "promote/test_promote.py", "pipelines/test_recommend.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, in their order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """What all imports have made stays, so that no search for garbage need go through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)


def pytest_unconfigure() -> None:
    """Or a library that looks at the end for what nobody has freed would tell of all its own."""
    gc.unfreeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Seconds per test folder, set-up included."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(report.nodeid.split("/")[:2])] += report.duration
    terminalreporter.section("seconds per folder")
    for folder, spent in seconds.most_common():
        terminalreporter.write_line(f"{spent:7.1f} s  {folder}")


def coloured_pixels(label: str, rng: np.random.Generator, height: int = 40, width: int = 48) -> NDArray[np.uint8]:
    """A noisy picture in the class's colour: separable, but not by a single pixel. uint8 [height, width, 3]."""
    noise = rng.normal(0, 25, (height, width, 3))
    return np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)


def write_source(folder: Path, images_per_class: int, seed: int = 0, classes: list[str] | None = None) -> Path:
    """A source folder with a subfolder a class."""
    rng = np.random.default_rng(seed)
    for label in classes or CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(images_per_class):
            image = Image.fromarray(coloured_pixels(label, rng))
            image.save(folder / label / f"{label} {number:03d}.{'jpg' if number % 2 else 'png'}")
    return folder


def write_dataset(
    folder: Path, seed: int = 0, counts: dict[str, int] | None = None, encoding: Encoding = "raw"
) -> Path:
    """A dataset artifact of coloured images, made without the ingest step. `counts` are images a class and split."""
    rng = np.random.default_rng(seed)
    (folder / "originals").mkdir(parents=True)
    shards: dict[str, list[str]] = {}
    digests: dict[str, str] = {}
    samples: list[Sample] = []
    sizes = counts or COUNTS
    for split in SPLITS:
        images = []
        for number in range(sizes[split] * len(CLASSES)):
            label = number % len(CLASSES)
            pixels = coloured_pixels(CLASSES[label], rng)
            path = folder / "originals" / "new.png"
            picture = Image.fromarray(pixels)
            picture.save(path)
            source_id = hashlib.sha256(path.read_bytes()).hexdigest()
            path.rename(path.with_name(f"{source_id}.png")) if split == "test" else path.unlink()
            images.append(stored_image(source_id, label, pixels, encoding))
            name = CLASSES[label]
            looks = perceptual_hash(picture), pixel_sums(picture).brightness()
            path_in_source = f"{name}/{split}{number}.png"
            samples.append(Sample(source_id, path_in_source, name, split, None, 48, 40, "PNG", *looks, None))
        shards[split] = write_shards(folder, split, images, encoding)
        digests[split] = hashlib.sha256(b"".join(image.data for image in images)).hexdigest()
    write_samples(folder, samples)
    write_card(
        folder,
        "dataset",
        {
            "classes": CLASSES,
            "stored_size_px": 40,
            "interpolation": "bicubic",
            "encoding": encoding,
            "counts": {split: dict.fromkeys(CLASSES, sizes[split]) for split in SPLITS},
            "quarantined": 0,
            "split_policy": {"by": "content"},
            "shards": shards,
            "digests": digests,
            "statistics": {"mean": [0.37, 0.39, 0.39], "std": [0.3, 0.2, 0.3]},
        },
    )
    return folder


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source folder: three classes, 30 small images each, PNG and JPEG, spaces in the names."""
    return write_source(tmp_path_factory.mktemp("source") / "colours", 30)


@pytest.fixture(scope="session")
def darker_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source folder like `tiny_source`, of other images in much less light."""
    folder = write_source(tmp_path_factory.mktemp("source") / "darker", 30, seed=1)
    for file in sorted(folder.rglob("*.*")):
        ImageEnhance.Brightness(Image.open(file)).enhance(0.4).save(file)
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset artifact: stored size 40 px; 60 train, 30 val, 30 test."""
    return write_dataset(tmp_path_factory.mktemp("dataset") / "dataset")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of TINY_BACKBONE as a file: a small backbone with features that tell colours apart."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model(TINY_BACKBONE, num_classes=10)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path, tiny_weights: Path) -> Path:
    """A classifier artifact: TINY_BACKBONE under an untrained head, for the tiny dataset."""
    import torch

    from components.interchange import classifier
    from components.interchange.backbone import build_model
    from components.interchange.cards import ClassifierCard
    from components.interchange.dataset import open_dataset

    torch.manual_seed(0)
    dataset = open_dataset(tiny_dataset)
    model, weights = build_model(TINY_BACKBONE, 3, str(tiny_weights), None, TINY_INPUT_PX)
    card = ClassifierCard(
        backbone=TINY_BACKBONE,
        classes=dataset.classes,
        preprocessing=classifier.preprocessing_of(model, dataset.manifest, TINY_INPUT_PX),
        weights=weights,
        dataset_digest=dataset.digest(),
        made_by="finetune",
        spec={},
    )
    folder = tmp_path_factory.mktemp("classifier") / "classifier"
    classifier.save(folder, model, card)
    return folder


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[object]:
    """Copy an artifact so that a test may damage it: `copied(folder)` gives the copy's path."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / f"copy of {folder.name}"))

    yield copy


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server (SeaweedFS) for as long as the tests run; about 3 s to start."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_store(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty s3:// store, with the AWS settings that open it."""
    for name, value in s3_server.settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return s3_server.new_store()


@pytest.fixture(scope="session")
def tiny_onnx_model(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path, tiny_classifier: Path) -> Path:
    """An onnx_model artifact: what export_onnx makes of tiny_classifier; its report lies beside it as `report`."""
    from components.export_onnx.spec import ExportOnnx
    from components.interchange.cli import main

    folder = tmp_path_factory.mktemp("onnx_model")
    argv = ["--dataset", str(tiny_dataset), "--selected", str(tiny_classifier), "--golden-samples", "3"]
    argv += ["--onnx-model", str(folder / "onnx_model"), "--report", str(folder / "report"), "--device", "cpu"]
    assert main(ExportOnnx, argv) == 0
    return folder / "onnx_model"
