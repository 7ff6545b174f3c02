"""Classes that the hash leaves without an image in train, val or test."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from components.ingest.rare_classes import stand_ins
from components.ingest.splits import Policy, Unit, position_of, split_of
from components.interchange.dataset import SPLITS, SplitName

POLICY = Policy(val_fraction=0.2, test_fraction=0.2, max_near_bits=10)
FROZEN = POLICY._replace(frozen=frozenset())


def units_of(sizes: dict[str, list[int]]) -> tuple[list[Unit], dict[str, str]]:
    """Units with so many images each, by class; and the class of every image."""
    units, labels = [], {}
    for label, its in sizes.items():
        for number, size in enumerate(its):
            ids = tuple(hashlib.sha256(f"{label} {number} {one}".encode()).hexdigest() for one in range(size))
            units.append(Unit(f"image {min(ids)}", ids))
            labels |= dict.fromkeys(ids, label)
    return units, labels


def by_hash(units: list[Unit]) -> dict[str, SplitName]:
    return {name: split_of(unit.key, 0.2, 0.2) for unit in units for name in unit.ids}


def sides(splits: dict[str, SplitName], labels: dict[str, str]) -> dict[str, set[str]]:
    return {label: {splits[name] for name in splits if labels[name] == label} for label in set(labels.values())}


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.lists(st.integers(1, 3), min_size=3, max_size=12)))
def test_every_class_of_three_gets_an_image_on_every_side_and_only_those_move_that_must(
    sizes: dict[str, list[int]],
) -> None:
    units, labels = units_of(sizes)
    before = by_hash(units)
    moved = stand_ins(before, units, labels, POLICY)
    assert stand_ins(before, units[::-1], labels, POLICY) == moved
    after, had = sides(before | moved, labels), sides(before, labels)
    assert all(found == set(SPLITS) for found in after.values())
    for label, found in had.items():
        units_moved = sum(unit.ids[0] in moved for unit in units if labels[unit.ids[0]] == label)
        assert units_moved == len(SPLITS) - len(found)
    for unit in units:
        assert len({(before | moved)[name] for name in unit.ids}) == 1


def test_the_nearest_by_hash_stand_in() -> None:
    units, labels = units_of({"ant": [1] * 8})
    train = sorted(
        (unit for unit in units if by_hash([unit])[unit.ids[0]] == "train"), key=lambda u: position_of(u.key)
    )
    assert stand_ins(by_hash(train), train, labels, POLICY) == {train[0].ids[0]: "val", train[1].ids[0]: "test"}


def test_a_frozen_test_set_gets_none_and_a_unit_of_two_classes_stays() -> None:
    units, labels = units_of({"bee": [1] * 5})
    train: dict[str, SplitName] = dict.fromkeys(labels, "train")
    assert list(stand_ins(train, units, labels, FROZEN).values()) == ["val"]
    both = [Unit(units[0].key, units[0].ids + units[1].ids)]
    assert stand_ins(train, both, labels | {units[0].ids[0]: "cat"}, POLICY) == {}
