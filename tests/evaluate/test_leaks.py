"""Test images that the champion was trained on: found by content and by look, and left out of what counts."""

import numpy as np
import pytest

from components.evaluate import leaks
from components.interchange.dataset import open_dataset
from components.interchange.lineage import LineageImage, write_lineage
from tests.evaluate.conftest import write_champion
from tests.evaluate.test_evaluate import evaluate


def test_hashes_are_near_up_to_so_many_bits():
    ours = ["00000000000000ff", "ffffffff00000000", "0000000000000000"]
    theirs = ["00000000000000fe", "0000000000000000", "ffffffff0000000f"]

    assert leaks.near(ours, theirs, 0).tolist() == [False, False, False], "one tone says nothing"
    assert leaks.near(ours, theirs, 1).tolist() == [True, False, False]
    assert leaks.near(ours, theirs, 4).tolist() == [True, True, False]
    assert leaks.near(ours, [], 4).tolist() == [False, False, False]


def test_every_chunk_is_looked_at(monkeypatch):
    rng = np.random.default_rng(0)
    ours, theirs = ([f"{number:016x}" for number in rng.integers(1, 2**63, 50)] for _ in range(2))
    theirs[7], theirs[30] = ours[49], ours[0]
    monkeypatch.setattr(leaks, "PAIRS_PER_CHUNK", 100)

    assert np.flatnonzero(leaks.near(ours, theirs, 4)).tolist() == [0, 49]


@pytest.fixture
def test_samples(tiny_dataset):
    return [sample for sample in open_dataset(tiny_dataset).samples() if sample.split == "test"]


def trained_on(folder, samples, **changed):
    model = write_champion(folder, ["blue", "green", "red"])
    images = [LineageImage(s.id, s.label, changed.get("split", "train"), None, s.phash) for s in samples]
    write_lineage(model, [image._replace(**changed) for image in images], {})
    return model


def test_images_the_champion_was_trained_on_are_left_out(tmp_path, tiny_dataset, learnt, crowned, test_samples):
    known, others = test_samples[:12], test_samples[12:]
    store = crowned(trained_on(tmp_path / "model", known))

    report = evaluate(tmp_path, tiny_dataset, "--candidate", str(learnt), "--store", store, "--max-near-bits", "0")

    assert report.details["champion"]["leaks"]["exact"] == 12
    assert report.row("top1_difference", "selected-champion", "test").n == 30
    adjusted = report.row("top1_difference_adjusted", "selected-champion", "test")
    assert adjusted.n == len(others) == 18
    ours, theirs = (report.row("top1_adjusted", of, "test") for of in ("selected", "champion"))
    assert theirs.value == 1.0
    assert adjusted.value == pytest.approx(ours.value - theirs.value)
    left = [sample for sample in others if sample.label == "red"]
    assert report.row("recall_difference", "selected-champion/red", "test").n == len(left)
    assert "trained on 12 of the test images" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_a_near_duplicate_counts_and_an_image_that_only_judged_the_champion_does_not(tmp_path, test_samples):
    ids, hashes = zip(*((sample.id, sample.phash) for sample in test_samples), strict=True)
    copied = trained_on(tmp_path / "copied", test_samples[:1], id="f" * 64)
    judged = trained_on(tmp_path / "judged", test_samples, split="test")

    found = leaks.find(copied, ids, hashes, 0)
    assert (found.exact, found.near) == (0, 1)
    assert found.leaked_N.tolist() == [True] + [False] * 29
    assert not leaks.find(judged, ids, hashes, 0).leaked_N.any()


def test_a_champion_that_knows_every_image_leaves_no_figure(tmp_path, tiny_dataset, learnt, crowned, test_samples):
    store = crowned(trained_on(tmp_path / "model", test_samples))

    report = evaluate(tmp_path, tiny_dataset, "--candidate", str(learnt), "--store", store)

    adjusted = report.row("top1_difference_adjusted", "selected-champion", "test")
    assert (adjusted.n, adjusted.value) == (0, None)


def test_a_champion_without_a_lineage_is_said_not_to_be_compared(tmp_path, test_samples):
    model = write_champion(tmp_path / "model", ["blue", "green", "red"])

    found = leaks.find(model, ["a" * 64], ["0" * 16], 4)

    assert found.how.startswith("not compared")
    assert not found.compared
    assert not found.leaked_N.any()
