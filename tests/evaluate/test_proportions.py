"""Intervals of shares and paired changes against scipy, a simulation, and the edges."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from components.evaluate.proportions import f1_of, mean_of, paired_change, share
from components.evaluate.scores import Intervals, paired_rows, score_rows


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (90, 100), (1, 3), (700, 1000)])
def test_the_interval_of_a_share_is_wilsons(hits, n):
    found = share(np.arange(n) < hits)
    expected = binomtest(hits, n).proportion_ci(method="wilson")

    assert found.value == hits / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_an_f1_holds_it_and_is_none_of_certainty():
    rng = np.random.default_rng(0)
    true_N, said_N = rng.random(200) < 0.5, rng.random(200) < 0.6
    found, perfect = f1_of(true_N, said_N), f1_of(np.ones(20, bool), np.ones(20, bool))

    assert found.value == pytest.approx(2 * (true_N & said_N).sum() / (true_N.sum() + said_N.sum()))
    assert found.low < found.value < found.high
    assert perfect.value == perfect.high == 1
    assert 0.85 < perfect.low < 0.95  # Of J 20 / (20 + 1.96^2).
    assert np.isnan(f1_of(np.zeros(3, bool), np.zeros(3, bool))).all()


def test_the_mean_of_classes_that_were_all_right_is_none_of_certainty():
    classes = [f1_of(np.ones(n, bool), np.ones(n, bool)) for n in (8, 13)]
    found = mean_of([*classes, f1_of(np.zeros(3, bool), np.zeros(3, bool))], [8, 13, 0])  # The last one counts nothing.

    assert (found.value, found.high) == (1, 1)
    alike = 4 / (1 / 8 + 1 / 13)
    assert found.low == pytest.approx(alike / (alike + 1.96**2), abs=1e-4), "Wilson's, the wider here"
    assert np.isnan(mean_of([], [])).all()
    labels_N = np.arange(20) % 2
    rows = score_rows(np.eye(2)[labels_N], labels_N, ["a", "b"], Intervals(200, 0, 5), of="a", split="val")
    assert 0.8 < next(row.low for row in rows if row.name == "macro_f1") < 0.95


def test_a_top5_that_was_all_right_is_none_of_certainty():
    labels_N = np.arange(12) % 6

    rows = score_rows(np.eye(6)[labels_N], labels_N, list("abcdef"), Intervals(100, 0, 5), of="who", split="val")

    top5 = next(row for row in rows if row.name == "top5")
    assert (top5.value, top5.high) == (1, 1)
    assert top5.low == pytest.approx(12 / (12 + 1.96**2), abs=1e-3)


def test_no_images_have_no_share():
    assert np.isnan(share(np.zeros(0, bool))).all()
    assert np.isnan(paired_change(np.zeros(0, bool), np.zeros(0, bool))).all()


def test_few_images_that_agree_prove_little():
    same = np.ones(3, bool)

    found = paired_change(same, same)

    assert found.value == 0
    assert found.low < -0.3
    assert found.high > 0.3


def test_a_mean_of_shares_is_scikit_learns_balanced_accuracy_and_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    sizes, truths = (6, 30, 12), (0.5, 0.9, 0.75)
    labels_N = np.repeat(np.arange(3), sizes)
    held = []
    for _ in range(2000):
        hits = [rng.random(size) < truth for size, truth in zip(sizes, truths, strict=True)]
        found = mean_of([share(one) for one in hits], sizes)
        held.append(found.low <= np.mean(truths) <= found.high)
    said_N = np.where(np.concatenate(hits), labels_N, (labels_N + 1) % 3)

    assert found.value == pytest.approx(balanced_accuracy_score(labels_N, said_N))
    assert 0.93 <= np.mean(held) <= 0.98
    assert mean_of([share(np.ones(2, bool))] * 2, [2, 2]).low < 0.6, "two of two right in both classes prove little"
    assert np.isnan(mean_of([], [])).all()


@pytest.mark.parametrize(("classes", "size", "truth"), [(20, 5, 0.05), (60, 5, 0.8), (100, 2, 0.9)])
def test_a_mean_of_many_small_classes_holds_the_truth_as_often_as_it_says(classes, size, truth):
    """The first one guesses: its lower end lay above guessing in one case of eight."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        found = mean_of([share(hits) for hits in rng.random((classes, size)) < truth], [size] * classes)
        held.append(found.low <= truth <= found.high)

    assert np.mean(held) >= 0.93


def test_the_n_of_a_score_by_class_is_of_what_it_is_a_share():
    labels_N, said_N = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 0])

    rows = score_rows(np.eye(2)[said_N], labels_N, ["a", "b"], Intervals(100, 0, 5), of="who", split="test")

    found = {(row.name, row.of): (row.n, row.value) for row in rows}
    assert found["recall", "who/a"] == (3, pytest.approx(1 / 3))
    assert found["precision", "who/a"] == (2, 0.5)
    assert found["f1", "who/a"] == (4, pytest.approx(0.4))


def test_the_interval_of_a_change_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        both = rng.random(40)
        found = paired_change(both < 0.85, (both < 0.7) | (both > 0.95))
        held.append(found.low <= 0.10 <= found.high)

    assert 0.93 <= np.mean(held) <= 0.98


def sides(gained, lost, n):
    """Which of `n` images either side has right: so many the one alone, so many the other alone, the rest neither."""
    image_N = np.arange(n)
    return image_N < gained, (image_N >= gained) & (image_N < gained + lost)


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 2, 50), (0, 3, 20), (5, 5, 40), (1, 0, 6)])
def test_the_interval_of_a_change_ends_where_its_score_test_refuses(gained, lost, n):
    """At an end the found change is 1.96 errors away; the likeliest shares there are found by trying."""
    better_N, than_N = sides(gained, lost, n)
    found = paired_change(better_N, than_N)

    for change in (found.low, found.high):
        lost_share = np.linspace(max(0.0, -change), (1 - change) / 2, 1_000_001)[1:-1]
        gained_share, same = lost_share + change, 1 - 2 * lost_share - change
        likelihood = gained * np.log(gained_share) + lost * np.log(lost_share) + (n - gained - lost) * np.log(same)
        best = lost_share[likelihood.argmax()]
        error = np.sqrt((2 * best + change - change**2) / n)
        assert abs(found.value - change) / error == pytest.approx(1.96, abs=0.01)


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(0, 0, 1), (1, 0, 1), (0, 1, 1), (7, 0, 7), (0, 7, 7), (0, 0, 100_000)]
)
def test_the_interval_of_a_change_holds_it_at_the_edges(gained, lost, n):
    better_N, than_N = sides(gained, lost, n)
    found = paired_change(better_N, than_N)

    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 3 / (n + 4)


def test_every_count_of_few_images_has_an_interval_that_turns_with_the_sides():
    for n in range(1, 13):
        for gained in range(n + 1):
            for lost in range(n + 1 - gained):
                better_N, than_N = sides(gained, lost, n)
                found, turned = paired_change(better_N, than_N), paired_change(than_N, better_N)
                assert -1 <= found.low <= found.value <= found.high <= 1
                assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-9)


def difference(right_N, than_right_N):
    """The row top1_difference of two classifiers that are right on these images of two classes."""
    labels_N = np.zeros(len(right_N), np.int64)
    logits = [np.where(np.array(one)[:, None], [[1.0, 0.0]], [[0.0, 1.0]]) for one in (right_N, than_right_N)]
    return paired_rows(*logits, labels_N, Intervals(500, 0, 5), of="a-b", split="test")[0]


def test_two_that_agree_on_ten_images_are_not_proven_to_be_the_same():
    found = difference([True] * 10, [True] * 10)

    assert found.value == 0
    assert found.low < -0.1
    assert found.high > 0.1


def test_a_difference_is_not_proven_above_its_margin_more_often_than_its_interval_says():
    """The truth lies at the margin: the other is right on 2 % more of the images. 1 in 40 may say otherwise."""
    rng = np.random.default_rng(0)
    above = []
    for _ in range(400):
        lost_N = rng.random(100) < 0.02
        above.append(difference(~lost_N, np.ones(100, bool)).low > -0.02)

    assert np.mean(above) <= 0.03


def test_of_many_images_the_interval_is_the_bootstraps():
    rng = np.random.default_rng(1)
    right_N, than_N = rng.random(4000) < 0.9, rng.random(4000) < 0.85
    found = difference(right_N, than_N)
    change_N = right_N.astype(float) - than_N
    reach = 1.96 * change_N.std() / 4000**0.5

    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.1)
