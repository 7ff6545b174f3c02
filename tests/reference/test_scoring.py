"""Our scores against scikit-learn and against plain loops."""

import math

import numpy as np
import pytest
from sklearn import metrics

from components.evaluate.scores import Intervals, score_rows
from components.interchange import scoring


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(3)
    logits_NC = rng.normal(0, 2, (400, 7)).astype(np.float32)
    labels_N = rng.integers(0, 7, 400)
    logits_NC[np.arange(400), labels_N] += 1.5
    return logits_NC, labels_N


def test_softmax_is_the_plain_formula_and_survives_huge_logits(scored):
    logits_NC, _ = scored
    row = [math.exp(value) for value in logits_NC[0].astype(float)]

    assert np.allclose(scoring.softmax(logits_NC)[0], np.array(row) / sum(row))
    assert scoring.softmax(np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]


def test_top1_and_topk_are_scikit_learns(scored):
    logits_NC, labels_N = scored

    assert scoring.top1(logits_NC, labels_N) == metrics.accuracy_score(labels_N, logits_NC.argmax(1))
    for k in (1, 3, 5):
        assert scoring.topk(logits_NC, labels_N, k) == metrics.top_k_accuracy_score(labels_N, logits_NC, k=k)


def test_equal_logits_go_to_the_lower_class_as_argmax_does():
    logits_NC = np.zeros((3, 3))

    assert scoring.hits(logits_NC, np.array([0, 1, 2])).tolist() == [True, False, False]
    assert scoring.hits(logits_NC, np.array([0, 1, 2]), k=2).tolist() == [True, True, False]


def test_confusion_cells_and_macro_f1_are_scikit_learns(scored):
    logits_NC, labels_N = scored
    predictions_N = logits_NC.argmax(1)
    expected_CC = metrics.confusion_matrix(labels_N, predictions_N)
    counts = scoring.class_counts(labels_N, predictions_N, 7)

    found = scoring.confusion_cells(labels_N, predictions_N)
    assert found == [[*map(int, place), int(expected_CC[tuple(place)])] for place in np.argwhere(expected_CC)]
    assert np.isclose(scoring.macro_f1(counts), metrics.f1_score(labels_N, predictions_N, average="macro"))


def test_macro_f1_leaves_out_a_class_that_never_occurs_and_counts_one_that_is_only_predicted():
    labels_N, predictions_N = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    counts = scoring.class_counts(labels_N, predictions_N, 4)

    assert np.isclose(scoring.macro_f1(counts), metrics.f1_score(labels_N, predictions_N, average="macro"))


def test_nll_is_scikit_learns_log_loss(scored):
    logits_NC, labels_N = scored

    expected = metrics.log_loss(labels_N, scoring.softmax(logits_NC))
    assert np.isclose(scoring.nll(logits_NC, labels_N), expected)


def loop_ece(logits_NC, labels_N, bins):
    """Guo et al. 2017, eq. 3, spelled out."""
    probabilities = scoring.softmax(logits_NC)
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [row for row in range(len(labels_N)) if low < probabilities[row].max() <= high]
        if inside:
            accuracy = sum(probabilities[row].argmax() == labels_N[row] for row in inside) / len(inside)
            confidence = sum(probabilities[row].max() for row in inside) / len(inside)
            total += len(inside) / len(labels_N) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [2, 10, 15])
def test_ece_is_the_plain_loop(scored, bins):
    assert np.isclose(scoring.ece(*scored, bins), loop_ece(*scored, bins))


def test_a_confidence_on_a_bins_right_edge_belongs_to_that_bin():
    logits_NC, labels_N = np.zeros((2, 2)), np.array([0, 1])

    gaps_NB = scoring.calibration_gaps(logits_NC, labels_N, 2)

    assert gaps_NB.tolist() == [[-0.5, 0.0], [0.5, 0.0]]


def test_ece_by_hand_of_sure_and_wrong_is_one():
    assert scoring.ece(np.array([[50.0, 0.0]]), np.array([1])) == pytest.approx(1.0)


def test_scores_by_class_are_scikit_learns(scored):
    logits_NC, labels_N = scored
    rows = score_rows(logits_NC, labels_N, list("abcdefg"), Intervals(100, 0, 15), of="one", split="test")
    expected = metrics.precision_recall_fscore_support(labels_N, logits_NC.argmax(1))

    for score, of_class in zip(("precision", "recall", "f1"), expected, strict=False):
        found = [row.value for row in rows if row.name == score]
        assert np.allclose(found, of_class)


def test_scores_of_some_images_at_a_time_are_those_of_all(scored, monkeypatch):
    logits_NC, labels_N = scored
    divided = (logits_NC, labels_N, 1.7)
    whole = scoring.hits(logits_NC, labels_N, 3), scoring.nll_of_each(*divided), scoring.confidences(logits_NC)
    monkeypatch.setattr(scoring, "LOGITS_AT_A_TIME", 7 * 11)
    parts = scoring.hits(logits_NC, labels_N, 3), scoring.nll_of_each(*divided), scoring.confidences(logits_NC)

    assert all(np.array_equal(one, other) for one, other in zip(whole, parts, strict=True))
    assert np.allclose(whole[1], scoring.nll_of_each(logits_NC / 1.7, labels_N))
    assert np.array_equal(whole[2], scoring.softmax(logits_NC).max(axis=1))
