"""What is said of classes that a classifier misses."""

import numpy as np

from components.evaluate.advice import of_classes
from components.evaluate.proportions import share
from components.interchange.report import Row


def recall(of: str, found: int, n: int, split: str = "test") -> Row:
    value, low, high = share(np.arange(n) < found)
    return Row(name="recall", value=value, low=low, high=high, of=of, split=split, n=n)


def test_a_class_that_is_missed_more_than_found_beyond_chance_is_named() -> None:
    rows = [
        recall("candidate/bags", 0, 15),
        recall("candidate/hats", 3, 15),
        recall("candidate/one image", 0, 1),
        recall("candidate/by chance", 5, 15),
        recall("candidate/val alone", 0, 15, "val"),
        recall("baseline/shoes", 0, 15),
    ]
    assert of_classes(rows, "candidate") == [
        "the candidate misses most test images of bags (0 of 15 found), hats (3 of 15 found)"
    ]
    assert of_classes(rows[2:5], "candidate") == []
