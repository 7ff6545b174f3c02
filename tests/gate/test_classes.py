"""No class given up for the mean, and a champion's score on images that it was trained on, through the real gate."""

import pytest

from tests.gate.conftest import champion, figure
from tests.gate.test_rules import TEST, reasons


def recall(of, value, low, high, n=100):
    return figure("recall_difference", value, low, high, of=of, split="test", n=n)


@pytest.mark.parametrize(
    ("scratch", "verdict", "words"),
    [
        (
            (-0.2, -0.3, -0.11),
            "keep",
            "a class clearly lost more than 0.050 of its recall against the champion: "
            "scratch -0.200 [-0.300, -0.110] (100 images)",
        ),
        (
            (-0.02, -0.08, 0.04),
            "inconclusive",
            "whether a class lost more than 0.050 of its recall against the champion cannot be told: "
            "scratch -0.020 [-0.080, +0.040] (100 images)",
        ),
        (
            (0.0, -0.04, 0.04),
            "promote",
            "of 2 classes clearly none lost more than 0.050 of its recall against the champion, the lowest "
            "scratch +0.000 [-0.040, +0.040] (100 images)",
        ),
    ],
)
def test_the_class_that_fell_most_decides(judged, scratch, verdict, words):
    more = [recall("selected-champion/dent", 0.1, 0.05, 0.15), recall("selected-champion/scratch", *scratch)]
    more.append(recall("candidate-baseline/dent", 0.1, 0.05, 0.15))

    outcome = judged("--max-class-drop", "0.05", champion=champion(), more=more)

    assert outcome[0] == verdict
    assert words in reasons(outcome)


def test_the_baseline_counts_where_the_candidate_was_selected(judged):
    more = [recall("candidate-baseline/dent", -0.2, -0.3, -0.1)]

    assert judged("--max-class-drop", "0.05", more=more)[0] == "keep"


def test_the_selected_baseline_is_not_held_against_itself(judged):
    more = [recall("candidate-baseline/dent", -0.2, -0.3, -0.1)]

    outcome = judged("--max-class-drop", "0.05", selected="feature_extraction", more=more)

    assert outcome[0] == "promote"
    assert "there is no champion, and the baseline, which was selected, loses no recall against itself" in reasons(
        outcome
    )


def test_a_rule_that_nothing_can_be_held_against_is_not_forgotten(judged):
    """The champion knows every test image: evaluate has no recall to tell of."""
    more = [recall("candidate-baseline/dent", 0.1, 0.05, 0.15)]

    outcome = judged("--max-class-drop", "0.05", champion=champion(), more=more)

    assert outcome[0] == "inconclusive"
    assert any("against the champion cannot be told: there is nothing to compare" in one for one in reasons(outcome))


@pytest.mark.parametrize(
    ("exported", "verdict", "words"),
    [
        ([recall("int8-fp32/dent", -0.2, -0.3, -0.1)], "keep", "a class clearly lost more than 0.050 of its recall"),
        ([recall("int8-fp32/dent", 0.0, -0.04, 0.04)], "promote", "the lowest dent +0.000"),
        ([recall("fp16-fp32/dent", 0.0, -0.04, 0.04)], "inconclusive", "there is nothing to compare"),
    ],
)
def test_no_class_may_be_lost_on_the_way_to_a_lower_precision(judged, exported, verdict, words):
    """What evaluate compares is the classifier before its export."""
    more = [recall("candidate-baseline/dent", 0.1, 0.05, 0.15)]

    outcome = judged("--max-class-drop", "0.05", more=more, precision="int8", exported=exported)

    assert outcome[0] == verdict
    assert any(words in reason and "against the fp32 export" in reason for reason in reasons(outcome))


def test_a_class_without_test_images_leaves_it_open(judged):
    more = [
        recall("selected-champion/dent", None, None, None, 0),
        recall("selected-champion/scratch", 0.0, -0.01, 0.01),
    ]

    outcome = judged("--max-class-drop", "0.05", champion=champion(), more=more)

    assert outcome[0] == "inconclusive"
    assert any("no test images of dent" in reason for reason in reasons(outcome))


def test_without_the_rule_no_class_is_judged(judged):
    more = [recall("selected-champion/dent", -0.9, -0.95, -0.8)]

    assert judged(champion=champion(), more=more)[0] == "promote"


@pytest.mark.parametrize(("adjusted", "verdict"), [((0.05, 0.02, 0.08), "promote"), ((0.05, -0.02, 0.12), "keep")])
def test_the_difference_without_leaked_images_is_the_one_that_counts(judged, adjusted, verdict):
    rival = figure("top1_difference", 0.01, -0.02, 0.04, of="selected-champion", **TEST)
    clean = figure("top1_difference_adjusted", *adjusted, of="selected-champion", split="test", n=300)

    outcome = judged("--min-gain", "-1", champion=champion(), rival=rival, more=[clean])

    assert outcome[0] == verdict
    assert any("300 test images, paired" in reason for reason in reasons(outcome))


def test_a_champion_that_knows_every_test_image_proves_nothing(judged):
    clean = figure("top1_difference_adjusted", None, of="selected-champion", split="test", n=0)

    outcome = judged("--min-gain", "0", champion=champion(), more=[clean])

    assert outcome[0] == "inconclusive"
    assert "the champion knows every test image: nothing can be compared" in reasons(outcome)
