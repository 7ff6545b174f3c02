"""Answering only when sure: the curve, the threshold that val chooses, and the veto of test."""

import numpy as np
import pytest

from components.evaluate.selective import choose, least_answers, lowest_threshold, risk_coverage


def two_classes(confidences, right):
    """Logits of two classes with these confidences, and labels that make the marked ones right."""
    confidences_N = np.array(confidences, np.float64)
    logits_NC = np.stack([np.log(confidences_N / (1 - confidences_N)), np.zeros(len(confidences_N))], axis=1)
    return logits_NC, np.where(right, 0, 1)


def test_the_curve_answers_the_most_confident_first_and_equals_together():
    logits_NC, labels_N = two_classes([0.6, 0.9, 0.8, 0.8], [False, True, True, False])

    curve = risk_coverage(logits_NC, labels_N)

    assert curve.confidences_K == pytest.approx([0.9, 0.8, 0.6])
    assert curve.coverage_K == pytest.approx([0.25, 0.75, 1.0])
    assert curve.risk_K == pytest.approx([0.0, 1 / 3, 0.5])


def spread(num_right, num_wrong, seed=0):
    """Right images with confidences from 0.8, wrong ones below."""
    rng = np.random.default_rng(seed)
    confidences = [*rng.uniform(0.8, 0.99, num_right), *rng.uniform(0.51, 0.79, num_wrong)]
    return two_classes(confidences, [True] * num_right + [False] * num_wrong)


def test_the_lowest_confidence_is_taken_that_reaches_the_wanted_precision():
    logits_NC, labels_N = spread(190, 30)

    found = lowest_threshold(logits_NC, labels_N, 0.95)

    curve = risk_coverage(logits_NC, labels_N)
    assert curve.risk_K[curve.confidences_K >= found][-1] <= 0.05
    assert (curve.risk_K[curve.confidences_K < found] > 0.05).all()
    assert found < 0.8, "ten wrong answers may be given with 190 right ones"


@pytest.mark.parametrize(("wanted", "needed"), [(0.9, 10), (0.99, 100), (0.95, 20), (0.999, 1000)])
def test_too_few_answers_show_no_precision(wanted, needed):
    assert least_answers(wanted) == needed
    assert lowest_threshold(*spread(needed, 0), wanted) is not None
    assert lowest_threshold(*spread(needed - 1, 0), wanted) is None


def test_val_chooses_and_the_rows_tell_what_it_does_on_test():
    val, test = spread(150, 50, seed=1), spread(120, 80, seed=2)

    chosen = choose(*val, *test, 0.95)

    assert chosen.threshold.precision == 0.95
    assert chosen.threshold.confidence == lowest_threshold(*val, 0.95) != lowest_threshold(*test, 0.95)
    rows = {(row.name, row.split): row for row in chosen.rows}
    assert rows["threshold", "val"].value == chosen.threshold.confidence
    assert rows["coverage", "val"].value == pytest.approx(157 / 200)
    assert rows["answered_top1", "test"].low < rows["answered_top1", "test"].value
    assert rows["answered_top1", "test"].n == round(rows["coverage", "test"].value * 200)


def test_test_vetoes_a_threshold_that_it_clearly_contradicts():
    val, (logits_NC, labels_N) = spread(150, 50), spread(200, 0)

    chosen = choose(*val, logits_NC, np.where(np.arange(200) < 60, 1, labels_N), 0.95)

    assert chosen.threshold is None
    assert "test vetoes" in chosen.how


def test_a_precision_that_val_never_reaches_gives_no_threshold():
    val = two_classes(np.linspace(0.6, 0.9, 100), np.arange(100) % 2 == 0)

    chosen = choose(*val, *val, 0.95)

    assert (chosen.threshold, chosen.rows) == (None, [])
    assert chosen.how.startswith("no threshold: on val (n = 100)")


def test_a_precision_that_is_just_reached_is_reached():
    """93 of 100 right are 0.93, though 1 - 0.07 is less."""
    confidences_N = np.linspace(0.9, 0.6, 100)
    logits_NC = np.log(np.stack([confidences_N, 1 - confidences_N], axis=1))

    assert lowest_threshold(logits_NC, (np.arange(100) >= 93).astype(np.int64), 0.93) == pytest.approx(0.6, abs=2e-6)


def test_a_threshold_so_near_to_one_that_six_decimals_take_in_mistakes_has_more():
    """Of a model that is far too sure: its mistakes are at 0.99999907, below what it gets right, at 0.99999983."""
    margins_N = np.repeat([15.6, 13.9], [150, 50])
    labels_N = np.repeat([0, 1], [150, 50])
    logits_NC = np.stack([margins_N, np.zeros(200)], axis=1)

    chosen = choose(logits_NC, labels_N, logits_NC, labels_N, 0.99)

    assert chosen.threshold is not None and chosen.threshold.confidence == 0.999999832
    assert "above a confidence of 0.999999832, chosen" in chosen.how
    assert [row.value for row in chosen.rows if row.name == "answered_top1"] == [1, 1]
