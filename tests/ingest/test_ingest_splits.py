"""The split rule: known answers, shares, groups, what was given and what was before."""

import hashlib

import pytest

from components.ingest.parallel import in_order
from components.ingest.splits import Member, assign, split_of
from components.interchange.errors import BadInput
from components.interchange.ledgers import Sample

IDS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(200)]
RULE = ["train", "train", "train", "train", "val", "train", "test", "test"]


def member(number: int, group: str | None = None, given: str | None = None) -> Member:
    return Member(IDS[number], group, given)  # type: ignore[arg-type]


def before(number: int, split: str, group: str | None = None) -> Sample:
    return Sample(IDS[number], "path", "label", split, group, 1, 1, "PNG", "0" * 16, 0.5, None)


def test_the_rule_never_changes() -> None:
    # Written down: another answer would move images between the splits of datasets that exist.
    assert [split_of(f"image {name}", 0.2, 0.2) for name in IDS[:8]] == RULE


def test_shares_are_as_asked_and_val_grows_out_of_train() -> None:
    small = [split_of(str(number), 0.1, 0.2) for number in range(10_000)]
    large = [split_of(str(number), 0.3, 0.2) for number in range(10_000)]
    assert small.count("test") == pytest.approx(2000, abs=150)
    assert small.count("val") == pytest.approx(1000, abs=120)
    assert {(a, b) for a, b in zip(small, large, strict=True) if a != b} == {("train", "val")}


def test_an_image_is_assigned_whatever_else_is_there() -> None:
    alone = [assign([member(number)], 0.2, 0.2)[IDS[number]] for number in range(200)]
    together = assign([member(number) for number in reversed(range(200))], 0.2, 0.2)
    assert [together[name] for name in IDS] == alone


def test_a_group_follows_the_split_given_to_one_of_it() -> None:
    members = [member(0, "g"), member(1, "g", "val"), member(2, "g")]
    assert set(assign(members, 0.2, 0.2).values()) == {"val"}


def test_new_images_follow_their_group_and_their_group_its_old_images() -> None:
    members = [member(0, "g"), member(1, "g"), member(2, "h"), member(3, "h"), member(4)]
    previous = [before(9, "test", "g"), before(2, "val"), before(4, "test")]
    found = assign(members, 0.2, 0.2, previous)
    assert [found[name] for name in IDS[:5]] == ["test", "test", "val", "val", "test"]


def test_a_given_split_wins_over_the_previous_one() -> None:
    assert assign([member(0, None, "train")], 0.2, 0.2, [before(0, "test")]) == {IDS[0]: "train"}


def test_torn_groups_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"the source puts images of one group into different splits: g \(test, train\)"):
        assign([member(0, "g", "train"), member(1, "g", "test")], 0.2, 0.2)
    with pytest.raises(BadInput, match=r"the previous dataset holds images of one group in .*: g \(test, val\)"):
        assign([member(0, "g"), member(1, "g")], 0.2, 0.2, [before(0, "val"), before(1, "test")])


def test_threads_keep_the_order_and_bound_what_waits() -> None:
    taken = 0

    def items() -> object:
        nonlocal taken
        for number in range(100):
            taken = number
            yield number

    results = in_order(lambda number: number * number, items(), 3)  # type: ignore[arg-type]
    assert next(results) == 0
    assert taken < 15
    assert list(results) == [number * number for number in range(1, 100)]


def test_a_failure_in_a_thread_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda number: 1 // number, [1, 1, 0, 1], 2))
