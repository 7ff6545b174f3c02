"""Every rule's three outcomes and its wording, through the real gate on real reports."""

import pytest

from components.gate import rules
from tests.gate.conftest import champion, figure

RUNS = {"unit": "ms", "of": "batch 1", "n": 1000}
TEST = {"split": "test", "n": 400}

CALIBRATION, GAIN = "calibration error (ece) on test", "gain in test top1"


def flips_of(found, told, budget):
    which = ": aaaaaaaaaaaa, bbbbbbbbbbbb" if found else ""
    answers = f"the exported file answers {found} of 256 images otherwise than torch"
    return f"{answers}, which is {told} the budget of {budget} flips{which}"


def reasons(outcome):
    return outcome[1].details["reasons"]


@pytest.mark.parametrize(
    ("p99", "verdict", "words"),
    [
        (
            (48.3, 44.1, 52.0),
            "keep",
            "p99 48.3 [44.1, 52.0] ms is over its budget of 40.0 ms (1,000 runs, batch 1, 4 threads)",
        ),
        (
            (41.0, 38.2, 44.0),
            "inconclusive",
            "p99 41.0 [38.2, 44.0] ms cannot be told from its budget of 40.0 ms (1,000 runs, batch 1, 4 threads)",
        ),
        (
            (30.0, 29.0, 31.5),
            "promote",
            "p99 30.0 [29.0, 31.5] ms is within its budget of 40.0 ms (1,000 runs, batch 1, 4 threads)",
        ),
        (
            (30.0, 29.0, None),
            "inconclusive",
            "p99 30.0 [29.0, unbounded] ms cannot be told from its budget of 40.0 ms (1,000 runs, batch 1, 4 threads)",
        ),
        (
            (41.0, 40.5, None),
            "keep",
            "p99 41.0 [40.5, unbounded] ms is over its budget of 40.0 ms (1,000 runs, batch 1, 4 threads)",
        ),
        (
            (3.2, 3.1, 40.0),
            "promote",
            "p99 3.20 [3.10, 40.0] ms is within its budget of 40.0 ms (1,000 runs, batch 1, 4 threads)",
        ),
    ],
)
def test_max_p99_ms(judged, p99, verdict, words):
    outcome = judged("--max-p99-ms", "40", p99=figure("p99_ms", *p99, **RUNS))

    assert outcome[0] == verdict
    assert words in reasons(outcome)


def test_a_tiny_budget_is_not_called_zero(judged):
    outcome = judged("--max-p99-ms", "0.0001", p99=figure("p99_ms", 0.048, 0.041, 0.052, **RUNS))
    assert "p99 0.048 [0.041, 0.052] ms is over its budget of 0.0001 ms (" in reasons(outcome)[0]


@pytest.mark.parametrize(
    ("p99", "p50", "verdict"),
    [
        ((30.0, 29.0, 31.5), (20.0, 19.0, 21.0), "promote"),
        ((48.3, 44.1, 52.0), (20.0, 19.0, 21.0), "inconclusive"),
        ((48.3, 47.1, 52.0), (45.0, 44.0, 46.0), "keep"),
    ],
)
def test_a_noisy_machine_can_let_pass_but_not_refuse(judged, p99, p50, verdict):
    p99, p50 = figure("p99_ms", *p99, **RUNS), figure("p50_ms", *p50, **RUNS)
    outcome = judged("--max-p99-ms", "40", p99=p99, p50=p50, noisy=True)

    assert outcome[0] == verdict
    assert any("too noisy to tell" in reason for reason in reasons(outcome)) is (verdict == "inconclusive")


def test_a_single_thread_is_worded_as_one(judged):
    outcome = judged("--max-p99-ms", "40", num_threads=1)

    assert any("batch 1, 1 thread)" in reason for reason in reasons(outcome))


@pytest.mark.parametrize(
    ("min_top1", "verdict", "words"),
    [
        ("0.96", "keep", "test top1 0.930 [0.900, 0.955] is under its minimum of 0.960 (400 test images)"),
        (
            "0.95",
            "inconclusive",
            "test top1 0.930 [0.900, 0.955] cannot be told from its minimum of 0.950 (400 test images)",
        ),
        ("0.90", "promote", "test top1 0.930 [0.900, 0.955] reaches its minimum of 0.900 (400 test images)"),
    ],
)
def test_min_top1_is_of_the_selected_classifier(judged, min_top1, verdict, words):
    outcome = judged("--min-top1", min_top1)

    assert outcome[0] == verdict
    assert words in reasons(outcome)


@pytest.mark.parametrize(
    ("max_ece", "verdict", "words"),
    [
        (
            "0.01",
            "keep",
            f"{CALIBRATION} 0.030 [0.020, 0.050] is over its budget of 0.010 (400 test images)",
        ),
        (
            "0.04",
            "inconclusive",
            f"{CALIBRATION} 0.030 [0.020, 0.050] cannot be told from its budget of 0.040 (400 test images)",
        ),
        (
            "0.05",
            "promote",
            f"{CALIBRATION} 0.030 [0.020, 0.050] is within its budget of 0.050 (400 test images)",
        ),
    ],
)
def test_max_ece(judged, max_ece, verdict, words):
    outcome = judged("--max-ece", max_ece)

    assert outcome[0] == verdict
    assert words in reasons(outcome)


def test_a_value_outside_its_own_interval_is_part_of_what_is_judged(judged):
    outcome = judged("--max-ece", "0.04", ece=figure("ece", 0.03, 0.05, 0.08, of="selected", **TEST))

    assert outcome[0] == "inconclusive"


@pytest.mark.parametrize(
    ("flags", "num_flips", "verdict", "words"),
    [
        (
            [],
            0,
            "promote",
            flips_of(0, "within", 0),
        ),
        (
            [],
            2,
            "keep",
            flips_of(2, "over", 0),
        ),
        (
            ["--max-flips", "2"],
            2,
            "promote",
            flips_of(2, "within", 2),
        ),
    ],
)
def test_max_flips(judged, flags, num_flips, verdict, words):
    outcome = judged(*flags, flips=["b" * 64, "a" * 64][:num_flips])

    assert outcome[0] == verdict
    assert words in reasons(outcome)


def test_an_export_that_is_not_eligible_is_kept_with_its_reason(judged):
    outcome = judged(eligible=False)

    assert outcome[0] == "keep"
    assert reasons(outcome) == ["the exported model is not eligible: the largest difference is 2.0e-01"]


@pytest.mark.parametrize(
    ("min_gain", "verdict", "told"),
    [("0.20", "keep", "is under"), ("0.10", "inconclusive", "cannot be told from"), ("0.05", "promote", "reaches")],
)
def test_min_gain_without_a_champion_is_over_the_baseline(judged, min_gain, verdict, told):
    outcome = judged("--min-gain", min_gain)

    words = f"gain in test top1 +0.120 [+0.080, +0.160] {told} its minimum of {float(min_gain):.3f} "
    assert outcome[0] == verdict
    assert words + "(no champion, so over the baseline, 400 test images)" in reasons(outcome)


def test_min_gain_with_a_champion_is_over_the_champion(judged):
    outcome = judged("--min-gain", "0.10", champion=champion())

    assert outcome[0] == "keep"
    assert reasons(outcome) == [
        "gain in test top1 +0.050 [+0.020, +0.080] is under its minimum of 0.100 (over the champion, 400 test images)"
    ]


def test_min_gain_of_a_selected_baseline_without_a_champion_is_nothing(judged):
    outcome = judged("--min-gain", "0.01", selected="feature_extraction")

    assert outcome[0] == "keep"
    assert reasons(outcome) == [
        "there is no champion, and the baseline, which was selected, gains nothing over itself (minimum 0.010)"
    ]


@pytest.mark.parametrize(
    ("difference", "verdict", "told"),
    [
        ((0.05, 0.02, 0.08), "promote", "is clearly above zero"),
        ((0.02, 0.0, 0.05), "keep", "is not clearly above zero"),
        ((-0.02, -0.05, 0.01), "keep", "is not clearly above zero"),
        ((-0.05, -0.08, -0.02), "keep", "is clearly below zero: the champion is better"),
    ],
)
def test_promote_if_better(judged, difference, verdict, told):
    rival = figure("top1_difference", *difference, of="selected-champion", **TEST)
    outcome = judged(champion=champion(), rival=rival)

    value, low, high = difference
    words = f"{GAIN} {value:+.3f} [{low:+.3f}, {high:+.3f}] against the champion {told} (400 test images, paired)"
    assert outcome[0] == verdict
    assert words in reasons(outcome)


@pytest.mark.parametrize(
    ("difference", "verdict", "told"),
    [
        ((-0.01, -0.02, 0.0), "promote", "is clearly above the margin -0.030"),
        ((-0.02, -0.04, 0.0), "inconclusive", "cannot be told from the margin -0.030"),
        ((-0.05, -0.08, -0.04), "keep", "is clearly below the margin -0.030"),
    ],
)
def test_promote_if_not_worse(judged, difference, verdict, told):
    rival = figure("top1_difference", *difference, of="selected-champion", **TEST)
    outcome = judged("--promote-if", "not-worse", "--margin", "0.03", champion=champion(), rival=rival)

    assert outcome[0] == verdict
    assert any(f"against the champion {told} (400 test images, paired)" in reason for reason in reasons(outcome))


def test_promote_if_faster(judged):
    outcome = judged("--promote-if", "faster", champion=champion())

    assert outcome[0] == "promote"
    assert "p50 8.00 [7.90, 8.10] ms is clearly below the champion's 10.0 [9.80, 10.2] ms (1,000 runs)" in reasons(
        outcome
    )
    assert "p99 12.0 [11.0, 13.0] ms is clearly below the champion's 20.0 [18.0, 22.0] ms (1,000 runs)" in reasons(
        outcome
    )


@pytest.mark.parametrize(
    ("changed", "verdict", "words"),
    [
        (
            {"p50": figure("p50_ms", 11.0, 10.5, 11.5, **RUNS)},
            "keep",
            "p50 11.0 [10.5, 11.5] ms is not below the champion's 10.0 [9.80, 10.2] ms (1,000 runs)",
        ),
        (
            {"p99": figure("p99_ms", 19.0, 17.0, 21.0, **RUNS)},
            "inconclusive",
            "p99 19.0 [17.0, 21.0] ms cannot be told from the champion's 20.0 [18.0, 22.0] ms (1,000 runs)",
        ),
        (
            {"champion": champion(latency=[])},
            "inconclusive",
            "p50 8.00 [7.90, 8.10] ms: the champion's p50 is not known, it was promoted without",
        ),
        (
            {"num_threads": 2},
            "inconclusive",
            "p50 8.00 [7.90, 8.10] ms: the champion was measured with CPUExecutionProvider and 4 threads, "
            "this model with CPUExecutionProvider and 2 threads of a Xeon",
        ),
        (
            {"champion": champion(processor="an Epyc")},
            "inconclusive",
            "p50 8.00 [7.90, 8.10] ms: the champion was measured with CPUExecutionProvider and 4 threads of an Epyc, "
            "this model with CPUExecutionProvider and 4 threads of a Xeon",
        ),
        (
            {"champion": champion(processor="a Xeon", noisy=True)},
            "inconclusive",
            "p50 8.00 [7.90, 8.10] ms is clearly below the champion's 10.0 [9.80, 10.2] ms (1,000 runs), "
            "but the machine was too noisy to tell when that was measured",
        ),
        (
            {"p50": figure("p50_ms", 11.0, 10.5, 11.5, **RUNS), "noisy": True},
            "inconclusive",
            "p50 11.0 [10.5, 11.5] ms is not below the champion's 10.0 [9.80, 10.2] ms (1,000 runs), "
            "but the machine was too noisy to tell",
        ),
        (
            {"rival": figure("top1_difference", -0.05, -0.08, -0.02, of="selected-champion", **TEST)},
            "keep",
            "gain in test top1 -0.050 [-0.080, -0.020] against the champion is clearly below the margin -0.010 "
            "(400 test images, paired)",
        ),
    ],
)
def test_promote_if_faster_refuses(judged, changed, verdict, words):
    outcome = judged("--promote-if", "faster", **{"champion": champion(), **changed})

    assert outcome[0] == verdict
    assert words in reasons(outcome)


def test_changed_classes_keep_unless_allowed(judged):
    changed = champion(added_classes=["d"], removed_classes=["e", "f"])
    outcome = judged(champion=changed)

    assert outcome[0] == "keep"
    assert reasons(outcome) == [
        "the classes differ from the champion's: new d, gone e, f; allow it with gate's --allow-class-change true"
    ]


def test_changed_classes_that_are_allowed_promote(judged):
    outcome = judged("--allow-class-change", "true", champion=champion(added_classes=["d"]))

    assert outcome[0] == "promote"
    assert "the classes differ from the champion's: new d, gone none; allowed by --allow-class-change" in reasons(
        outcome
    )


def test_a_champion_that_shares_no_classes_leaves_it_undecided_even_if_the_change_is_allowed(judged):
    strange = champion(shared_classes=[], added_classes=["a"], removed_classes=["z"])
    outcome = judged("--allow-class-change", "true", "--min-gain", "0", champion=strange, rival=None)

    assert outcome[0] == "inconclusive"
    assert reasons(outcome) == [
        "a gain of at least 0.000 cannot be judged: the model shares fewer than two classes with the champion",
        "fewer than two classes are shared with the champion: nothing can be compared",
    ]


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict", "words"),
    [
        (0.251, 0.3, 0.35, "promote", "0.300 [0.251, 0.350] is above that of guessing, 0.250 (400 test images)"),
        (0.2, 0.3, 0.35, "inconclusive", "0.300 [0.200, 0.350] cannot be told from that of guessing, 0.250"),
        (0.0, 0.1, 0.2, "keep", "0.100 [0.000, 0.200] is below that of guessing, 0.250"),
    ],
)
def test_a_model_must_be_better_than_guessing(judged, low, value, high, verdict, words):
    outcome = judged(sense=figure("balanced_accuracy", value, low, high, of="candidate", **TEST))

    assert outcome[0] == verdict
    assert any(f"balanced accuracy on test {words}" in reason for reason in reasons(outcome))


@pytest.mark.parametrize(
    ("flags", "rival", "verdict", "words"),
    [
        ([], "champion", "keep", "+0.010 [-0.032, +0.052] against the champion is not clearly above zero (400"),
        (["--promote-if", "not-worse"], "champion", "inconclusive", "cannot be told from the margin -0.010 (400"),
        (["--min-gain", "0.07"], None, "inconclusive", "+0.080 [+0.030, +0.130] cannot be told from its minimum"),
    ],
)
def test_a_gain_is_that_of_the_precision_that_ships(judged, flags, rival, verdict, words):
    """In fp32 the champion is beaten (+0.05 [+0.02, +0.08]), and so is the baseline."""
    told = figure("top1_difference", -0.04, -0.07, -0.01, of="int8-fp32", **TEST)
    outcome = judged(*flags, precision="int8", exported=[told], **({rival: champion()} if rival else {}))

    assert outcome[0] == verdict
    [reason] = [one for one in reasons(outcome) if words in one]
    assert ", in int8)" in reason


@pytest.mark.parametrize(
    ("flags", "name", "change", "words"),
    [
        (["--min-top1", "0.9"], "top1", (-0.05, -0.07, -0.03), "0.880 [0.844, 0.912] cannot be told from its minimum"),
        (["--max-ece", "0.04"], "ece", (0.03, None, None), f"{CALIBRATION} 0.060 [0.050, 0.080] is over its budget"),
    ],
)
def test_a_budget_is_held_against_the_precision_that_ships(judged, flags, name, change, words):
    told = figure(f"{name}_difference", *change, of="int8-fp32", **TEST)
    outcome = judged(*flags, precision="int8", exported=[told])

    assert outcome[0] != "promote"
    [reason] = [one for one in reasons(outcome) if words in one]
    assert reason.endswith("(400 test images, in int8)")


def test_what_is_under_a_thousandth_is_told_by_its_first_digits():
    """One of 10,000 classes, guessed: no 0.000."""
    assert [rules.figure(value) for value in (1e-4, 0.0, -0.00052, 0.25, 3)] == [
        "1.0e-04",
        "0.000",
        "-5.2e-04",
        "0.250",
        "3",
    ]
