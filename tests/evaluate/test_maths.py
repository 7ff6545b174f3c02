"""Bootstrap, selection, champion classes and mistakes on cases that can be checked by hand or by a plain loop."""

import re
import time

import numpy as np
import pytest

from components.evaluate import champion_model
from components.evaluate.bootstrap import Interval, ece_by_chance, paired_difference, resamples, score_intervals
from components.evaluate.mistakes import most_confident
from components.evaluate.selection import only_one, select
from components.interchange import scoring
from components.interchange.preprocessing import Preprocessing
from tests.evaluate.conftest import write_champion


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(5)
    logits_NC = rng.normal(0, 1, (120, 7)).astype(np.float32)
    labels_N = rng.integers(0, 7, 120)
    logits_NC[np.arange(120), labels_N] += 1.0
    return logits_NC, labels_N


def test_every_resample_draws_as_many_images_as_there_are_and_the_same_again_for_the_same_seed():
    weights_RN = np.concatenate(list(resamples(50, 30, seed=1)))

    assert weights_RN.shape == (30, 50)
    assert (weights_RN.sum(axis=1) == 50).all()
    assert (weights_RN == np.concatenate(list(resamples(50, 30, seed=1)))).all()
    assert (weights_RN != np.concatenate(list(resamples(50, 30, seed=2)))).any()


def test_chunks_of_resamples_add_up(monkeypatch):
    monkeypatch.setattr("components.evaluate.bootstrap.WEIGHTS_PER_CHUNK", 200)

    assert [len(chunk) for chunk in resamples(50, 10, seed=0)] == [4, 4, 2]


def test_intervals_are_those_of_a_loop_that_scores_each_resample_afresh(scored):
    logits_NC, labels_N = scored
    found = score_intervals(logits_NC, labels_N, bins=10, num_resamples=100, seed=4)

    looped: dict[str, list[float]] = {name: [] for name in ("nll", "ece", "macro_f1")}
    for weights_N in np.concatenate(list(resamples(120, 100, seed=4))):
        drawn = np.repeat(np.arange(120), weights_N.astype(int))
        logits, labels = logits_NC[drawn], labels_N[drawn]
        looped["nll"].append(scoring.nll(logits, labels))
        looped["ece"].append(scoring.ece(logits, labels, 10))
        looped["macro_f1"].append(float(scoring.macro_f1(scoring.class_counts(labels, logits.argmax(1), 7))))

    for name, values in looped.items():
        interval = found[name]
        low, high = np.percentile(values, [2.5, 97.5])
        if name == "ece":
            chance = ece_by_chance(logits_NC, labels_N, 10, 100, seed=4)
            low, high = max(0.0, interval.value - chance), high - (np.mean(values) - interval.value)
        assert (interval.low, interval.high) == pytest.approx((low, high))


def test_the_figures_themselves_are_those_of_scoring(scored):
    logits_NC, labels_N = scored
    found = score_intervals(logits_NC, labels_N, bins=15, num_resamples=100, seed=0)

    assert found["ece"].value == pytest.approx(scoring.ece(logits_NC, labels_N, 15))
    assert found["nll"].value == pytest.approx(scoring.nll(logits_NC, labels_N))


def test_the_interval_of_a_calibration_error_holds_it():
    """Ten groups, each exactly as often right as it is sure: every resample is calibrated worse than the images."""
    sure_N = np.repeat(np.arange(0.525, 1, 0.05), 40)
    right_N = np.tile(np.arange(40), 10) + 0.5 < sure_N * 40
    logits_NC = np.log(np.stack([sure_N, 1 - sure_N], axis=1))

    found = score_intervals(logits_NC, (~right_N).astype(np.int64), bins=20, num_resamples=500, seed=0)["ece"]

    assert found.value < 1e-6
    assert 0 <= found.low <= found.value < found.high < 0.05


@pytest.mark.parametrize("sharper", [1.0, 1.5, 0.5])
def test_the_interval_of_a_calibration_error_holds_the_truth_as_often_as_it_says(sharper):
    """Of a classifier whose confidence is accuracy, too: its error is 0, and never comes out so."""
    rng, bins = np.random.default_rng(0), 10

    def drawn(n):
        logits_NC = rng.normal(0, 3, (n, 3))
        return logits_NC * sharper, (logits_NC + rng.gumbel(size=(n, 3))).argmax(axis=1)

    truth = 0.0 if sharper == 1 else scoring.ece(*drawn(200_000), bins)
    found = [score_intervals(*drawn(150), bins=bins, num_resamples=100, seed=0)["ece"] for _ in range(150)]

    assert np.mean([one.value for one in found]) > truth + 0.002
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.93


def test_the_paired_difference_is_that_of_a_loop_and_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(0)
    than_N = rng.random(200) < 0.8
    better_N = than_N | (rng.random(200) < 0.3)

    paired = paired_difference(better_N, than_N, 500, seed=9)

    looped = []
    unpaired = []
    for weights_N in np.concatenate(list(resamples(200, 500, seed=9))):
        drawn = np.repeat(np.arange(200), weights_N.astype(int))
        looped.append(better_N[drawn].mean() - than_N[drawn].mean())
        unpaired.append(better_N[drawn].mean() - than_N[rng.integers(0, 200, 200)].mean())
    assert paired.value == pytest.approx(better_N.mean() - than_N.mean())
    assert (paired.low, paired.high) == pytest.approx(tuple(np.percentile(looped, [2.5, 97.5])))
    assert paired.high - paired.low < np.subtract(*np.percentile(unpaired, [97.5, 2.5]))


@pytest.mark.parametrize(
    ("baseline_val", "candidate_val", "gain", "selected", "words"),
    [
        (0.80, 0.93, Interval(0.10, 0.05, 0.15), "finetune", r"leads on val \(val top1 0.930 against 0.800.*clearly"),
        (0.80, 0.93, Interval(0.02, -0.01, 0.05), "feature_extraction", r"\+0.020 \[-0.010, \+0.050\].*test vetoes"),
        (0.80, 0.93, Interval(0.02, 0.0, 0.05), "feature_extraction", "test vetoes"),
        (0.90, 0.88, Interval(0.10, 0.05, 0.15), "feature_extraction", "does not lead on val"),
        (0.90, 0.90, Interval(0.10, 0.05, 0.15), "feature_extraction", "does not lead on val"),
    ],
)
def test_val_chooses_and_test_can_only_veto(baseline_val, candidate_val, gain, selected, words):
    found = select(baseline_val, candidate_val, gain)

    assert found.selected == selected
    assert re.search(words, found.because)


def test_a_single_classifier_is_selected_without_a_comparison():
    assert only_one("finetune").because == "no baseline was given, so finetune is selected without a comparison"
    assert only_one("feature_extraction").selected == "feature_extraction"


def test_classes_of_both_sides_are_shared_added_or_removed():
    found = champion_model.compare_classes(["a", "b", "c"], ["d", "c", "a"])

    assert found == (["a", "c"], ["b"], ["d"])


def test_on_shared_classes_other_images_and_other_logits_are_left_out_and_columns_change_place():
    logits_NC = np.array([[0.1, 0.2, 0.3], [1.1, 1.2, 1.3], [2.1, 2.2, 2.3]])

    found = champion_model.on_shared(logits_NC, ["d", "c", "a"], ["a", "b", "c"], ["a", "c"])

    assert found.logits_NS.tolist() == [[0.3, 0.2], [2.3, 2.2]]
    assert found.labels_N.tolist() == [0, 1]


def test_the_champions_pixels_are_a_plain_crop_only_when_it_asks_for_the_stored_size(tiny_dataset):
    from components.interchange.dataset import open_dataset

    dataset = open_dataset(tiny_dataset)
    test = dataset.split("test")
    asked = Preprocessing(resize_short_px=40, interpolation="bicubic", crop_px=32, mean=(0, 0, 0), std=(1, 1, 1))
    larger = asked.model_copy(update={"resize_short_px": 64})

    exact = np.concatenate(list(champion_model.prepared_batches(test, asked, 40, 16)))
    resized = np.concatenate(list(champion_model.prepared_batches(test, larger, 40, 16)))

    assert (exact == test.center_crops(range(30), 32)).all()
    assert resized.shape == exact.shape
    assert (resized != exact).any()
    assert "exactly as the champion asks" in champion_model.how_prepared(asked, dataset.manifest)
    assert "resized again from 40 to 64 px" in champion_model.how_prepared(larger, dataset.manifest)
    filtered = asked.model_copy(update={"interpolation": "bilinear"})
    assert "stored with bicubic" in champion_model.how_prepared(filtered, dataset.manifest)


def test_the_champion_answers_through_its_file_in_its_own_class_order(tiny_dataset, tmp_path):
    from components.interchange.dataset import open_dataset
    from components.interchange.onnx_model import open_model

    session, card = open_model(write_champion(tmp_path / "model", ["red", "blue", "green"]))
    test = open_dataset(tiny_dataset).split("test")

    logits_NC = champion_model.champion_logits(session, test, card.preprocessing, 40, 16)

    answers = [card.classes[column] for column in logits_NC.argmax(1)]
    assert answers == [["blue", "green", "red"][label] for label in test.labels_N]


def test_the_most_confident_mistakes_come_first_and_hits_never():
    logits_NC = np.array([[2.0, 0.0], [3.0, 0.0], [0.0, 9.0], [0.0, 1.0]])
    labels_N = np.array([1, 1, 1, 0])

    found = most_confident(logits_NC, labels_N, ["w", "x", "y", "z"], ["cat", "dog"], shown=2)

    assert [(mistake.id, mistake.label, mistake.predicted) for mistake in found] == [
        ("x", "dog", "cat"),
        ("w", "dog", "cat"),
    ]
    assert found[0].confidence == pytest.approx(1 / (1 + np.exp(-3)))


def test_of_many_classes_those_that_both_sides_know_are_found_at_once():
    ours = [f"species {number}" for number in range(6000)]
    theirs = [*reversed(ours[1:]), "extinct"]
    started = time.process_time()
    classes = champion_model.compare_classes(ours, theirs)
    found = champion_model.on_shared(np.zeros((6000, 6000), np.int8), theirs, ours, classes.shared)

    assert time.process_time() - started < 0.5
    assert (classes.shared, classes.added, classes.removed) == (ours[1:], ours[:1], ["extinct"])
    assert found.labels_N.tolist() == list(range(5999))
