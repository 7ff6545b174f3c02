"""Parts of the test set: what they are cut by, which one is named, and when chance explains it."""

import json

import numpy as np
import pytest

from components.evaluate.proportions import share
from components.evaluate.slices import LEAST_IMAGES, Slice, columns_of, facts, slice_rows, sliced, stands_out, worst
from components.interchange.ledgers import Sample


def sample(number, attributes=None, **more):
    known = {"format": "JPEG", "phash": "0" * 16, "brightness": number / 100, "width": 100 + number, "height": 300}
    told = None if attributes is None else json.dumps(attributes)
    return Sample(f"{number:064x}", f"{number}.jpg", "a", "test", None, attributes=told, **{**known, **more})


def test_columns_are_the_manifests_and_the_files_own_in_the_order_asked_for():
    samples = [sample(0, {"camera": "A", "note": ""}), sample(1, {"camera": 7}, format="PNG"), sample(2)]

    columns = columns_of(samples, [samples[2].id, samples[0].id, samples[1].id])

    assert columns["camera"] == [None, "A", "7"]
    assert "note" not in columns, "a column without a value"
    assert columns["format"] == ["JPEG", "JPEG", "PNG"]
    assert columns["size"] == [102.0, 100.0, 101.0]
    assert columns["brightness"] == [0.02, 0.0, 0.01]


def test_many_numbers_are_cut_into_quarters_and_few_values_are_taken_one_by_one():
    numbers = [float(number) for number in range(40)]

    slices, left_out = sliced({"brightness": numbers, "line": ["1", "2"] * 20}, np.ones(40, bool))

    assert [(one.name, one.n) for one in slices] == [
        ("brightness=0 to 9.75", 10),
        ("brightness=9.75 to 19.5", 10),
        ("brightness=19.5 to 29.25", 10),
        ("brightness=29.25 to 39", 10),
        ("line=1", 20),
        ("line=2", 20),
    ]
    assert left_out == []


def test_quarters_of_long_numbers_and_of_close_ones_are_told_apart():
    """Seconds since 1970, batches named by their day, a steady temperature: of four digits all alike."""
    times = [str(1_764_200_000 + 60 * number) for number in range(40)]
    batches = [str(20_261_100 + number) for number in range(40)]
    steady = [str(21 + number / 1e5) for number in range(40)]

    slices, left_out = sliced({"time": times, "batch": batches, "steady": steady}, np.ones(40, bool))

    assert [one.n for one in slices] == [10] * 12 and left_out == []
    assert [one.name for one in slices[:5]] == [
        "time=1764200000 to 1764200585",
        "time=1764200585 to 1764201170",
        "time=1764201170 to 1764201755",
        "time=1764201755 to 1764202340",
        "batch=20261100 to 20261110",
    ]
    assert slices[-1].name == "steady=21.0003 to 21.0004"


def test_images_without_a_value_are_a_part_of_their_own_and_names_of_images_are_left_out():
    columns = {
        "serial": [f"no {number}" for number in range(60)],
        "shift": ["day"] * 30 + [None] * 30,
        "one": ["x"] * 60,
    }

    slices, left_out = sliced(columns, np.ones(60, bool))

    assert [(one.name, one.n) for one in slices] == [("shift=day", 30), ("shift=(none)", 30)]
    assert left_out == ["serial"]


def test_a_column_that_names_the_images_of_a_small_test_set_is_left_out():
    columns = {
        "serial": [f"no {number // 2 if number > 20 else number}" for number in range(30)],
        "line": ["1", "2"] * 15,
    }

    slices, left_out = sliced(columns, np.ones(30, bool))

    assert [one.name for one in slices] == ["line=1", "line=2"]
    assert left_out == ["serial"]


def test_the_worst_is_the_part_that_is_surely_low_and_never_a_tiny_one():
    camera = ["tiny"] * 3 + ["bad"] * 100 + ["good"] * 300
    hits_N = np.array([False] * 3 + [True, False] * 50 + [True] * 300)

    slices, _ = sliced({"camera": camera}, hits_N)

    assert worst(slices).name == "camera=bad"
    assert stands_out(worst(slices), len(slices))
    told = facts(slices, [])
    assert (told["worst"], told["too_small"], told["looked_at"]) == ("camera=bad", ["camera=tiny"], 3)
    row = next(row for row in slice_rows(slices) if row.of == "camera=bad")
    assert (row.n, row.value) == (100, 0.5)
    assert 0.39 < row.low < 0.5 < row.high < 0.61


def test_a_part_that_chance_explains_does_not_stand_out():
    hits_N = np.random.default_rng(0).random(400) < 0.9

    slices, _ = sliced({"shift": ["a", "b", "c", "d"] * 100}, hits_N)

    assert not stands_out(worst(slices), len(slices))


def test_a_part_that_stands_out_is_named_before_one_that_is_lower_by_chance():
    camera = ["A"] * 1000 + ["B"] * 1000
    slices, _ = sliced(
        {"camera": camera, "lot": [f"lot {number % 20}" for number in range(2000)]}, np.arange(2000) > 75
    )
    lower = Slice("lot=lower", 20, share(np.arange(20) < 15), p=0.01)

    assert lower.top1.high < next(one.top1.high for one in slices if one.name == "camera=A")
    assert not stands_out(lower, len(slices) + 1)
    assert worst([*slices, lower]).name == "camera=A"
    assert facts([*slices, lower], [])["stands_out"] is True


def test_without_a_large_part_none_is_named():
    few = LEAST_IMAGES - 1
    slices, _ = sliced({"shift": ["a"] * few + ["b"] * few}, np.zeros(2 * few, bool))

    assert worst(slices) is None
    assert facts(slices, [])["stands_out"] is False


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_that_are_none_stay_words(value):
    slices, _ = sliced({"x": [value, *map(str, range(19))] * 2}, np.ones(40, bool))

    assert len(slices) == 20
