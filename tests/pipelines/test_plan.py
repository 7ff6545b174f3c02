"""Step keys: whatever can change a step's outputs is in them, and nothing else."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.interchange.champion import ChampionRecord, swap_pointer
from pipelines import fingerprints
from pipelines.plan import Request, key_of, parts_of, plan
from pipelines.run_options import RunOptions
from pipelines.session import request_for
from pipelines.steps import BY_NAME
from pipelines.store import open_store

INPUTS = {
    "ingest": {},
    "finetune": {"dataset": "d"},
    "evaluate": {"dataset": "d", "baseline": "b", "candidate": "c"},
    "latency": {"dataset": "d", "onnx_model": "m"},
}


@pytest.fixture
def request_(tmp_path: Path, tiny_source: Path, tiny_weights: Path) -> Request:
    shutil.copytree(tiny_source, tmp_path / "source")
    shutil.copyfile(tiny_weights, tmp_path / "weights.safetensors")
    sets = [f"{step}.weights={tmp_path / 'weights.safetensors'}" for step in ("finetune", "feature_extraction")]
    source, store = str(tmp_path / "source"), str(tmp_path / "store")
    return request_for(RunOptions(source, store, recipe="demo", model_name="m", set=tuple(sets), runner="inline"))


def key(request: Request, step: str, inputs: dict[str, str] | None = None) -> str:
    return key_of(
        parts_of(request, open_store(request.store), BY_NAME[step], INPUTS[step] if inputs is None else inputs)
    )


def with_value(request: Request, step: str, name: str, value: object) -> Request:
    return dataclasses.replace(request, values=request.values | {step: request.values[step] | {name: value}})


@pytest.mark.parametrize("step", INPUTS)
def test_the_same_gives_the_same_key(request_: Request, step: str) -> None:
    other_run = dataclasses.replace(request_, run_id="another", runner="process")
    assert key(request_, step) == key(other_run, step)


@pytest.mark.parametrize(
    ("step", "name", "value"),
    [
        ("ingest", "val_fraction", 0.3),
        ("finetune", "base_lr", 0.5),
        ("latency", "num_threads", 64),
        ("evaluate", "seed", 1),
    ],
)
def test_a_parameter_is_in_the_key(request_: Request, step: str, name: str, value: object) -> None:
    assert key(request_, step) != key(with_value(request_, step, name, value), step)


@pytest.mark.parametrize(("step", "port"), [(step, port) for step, inputs in INPUTS.items() for port in inputs])
def test_an_input_is_in_the_key(request_: Request, step: str, port: str) -> None:
    assert key(request_, step) != key(request_, step, INPUTS[step] | {port: "other"})


def test_where_the_source_lies_is_not_in_the_key_but_its_files_are(request_: Request, tmp_path: Path) -> None:
    before = key(request_, "ingest")
    moved = tmp_path / "elsewhere"
    (tmp_path / "source").rename(moved)
    request = with_value(request_, "ingest", "source", str(moved))
    assert key(request, "ingest") == before

    image = next(moved.rglob("*.png"))
    status = image.stat()
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = key(request, "ingest")
    assert touched != before
    image.rename(image.with_name("renamed.png"))
    renamed = key(request, "ingest")
    assert renamed not in (before, touched)
    image.with_name("renamed.png").unlink()
    assert key(request, "ingest") not in (before, touched, renamed)


def test_a_manifest_counts_with_the_files_it_names(request_: Request, tmp_path: Path) -> None:
    manifest, image = tmp_path / "list.csv", next((tmp_path / "source").rglob("*.png"))
    manifest.write_text(f"image,label\n{image.relative_to(tmp_path)},red\n")
    request = with_value(request_, "ingest", "source", str(manifest))
    before = key(request, "ingest")
    image.write_bytes(image.read_bytes() + b"\0")
    changed = key(request, "ingest")
    assert changed != before
    manifest.write_text(manifest.read_text().replace("red", "blue"))
    assert key(request, "ingest") not in (before, changed)


def test_the_bytes_of_the_weights_are_in_the_key_and_their_place_is_not(request_: Request, tmp_path: Path) -> None:
    before = key(request_, "finetune")
    path = (tmp_path / "weights.safetensors").rename(tmp_path / "moved.safetensors")
    request = with_value(request_, "finetune", "weights", str(path))
    assert key(request, "finetune") == before
    path.write_bytes(path.read_bytes() + b"\0")
    assert key(request, "finetune") != before


def test_weights_from_the_hub_count_by_backbone_and_version(request_: Request) -> None:
    one = fingerprints.weights("hub", "resnet18", None, None)
    assert one.startswith("resnet18 of timm ")
    assert one != fingerprints.weights("hub", "resnet50", None, None)


@pytest.mark.parametrize(
    ("step", "changed", "value"),
    [
        ("finetune", "device_kind", lambda device: "cuda 9.0"),
        ("feature_extraction", "device_kind", lambda device: "cuda 9.0"),
        ("latency", "processor", lambda: "another processor"),
        ("latency", "num_threads", lambda given: 3),
        ("latency", "provider", lambda device: "cuda"),
        ("ingest", "versions_of", lambda extra: {"pillow": "0.1"}),
        ("evaluate", "versions_of", lambda extra: {"torch": "0.1"}),
    ],
)
def test_hardware_and_versions_are_in_the_key(
    request_: Request, monkeypatch: pytest.MonkeyPatch, step: str, changed: str, value: Callable[..., object]
) -> None:
    inputs = INPUTS.get(step, {"dataset": "d"})
    before = key(request_, step, inputs)
    monkeypatch.setattr(fingerprints, changed, value)
    assert key(request_, step, inputs) != before


def test_the_champion_is_in_the_key_of_evaluate_unless_these_inputs_made_it(request_: Request) -> None:
    def record(model: str, classifier: str) -> ChampionRecord:
        return ChampionRecord(
            digest=model, classifier_digest=classifier, dataset_digest="d", replaced=None, run_id=None, when=""
        )

    store = open_store(request_.store)
    before = key(request_, "evaluate")
    assert swap_pointer(store.blobs, "m", record("m1", "c"), None)
    assert key(request_, "evaluate") == before
    assert swap_pointer(store.blobs, "other", record("m1", "x"), None)
    assert key(request_, "evaluate") != key(dataclasses.replace(request_, model_name="other"), "evaluate")


def test_before_anything_has_run_only_the_first_step_can_be_planned(request_: Request) -> None:
    found = {one.step.name: (one.action, one.why) for one in plan(request_, open_store(request_.store))}
    assert found["ingest"] == ("run", "not run before")
    assert found["finetune"] == ("waits", "after ingest")
    assert found["promote"] == ("waits", "after export_onnx, gate")
