"""The split rule: known answers, shares, groups, what was given and what was before."""

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.parallel import WAITING_PER_THREAD, in_order
from components.ingest.splits import Member, Policy, assign, split_of
from components.interchange import read_ahead
from components.interchange.errors import BadInput
from components.interchange.ledgers import Quarantined, Sample

IDS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(200)]
POLICY = Policy(val_fraction=0.2, test_fraction=0.2, max_near_bits=10)
RULE = ["train", "train", "train", "train", "val", "train", "test", "test"]


def member(number: int, group: str | None = None, given: str | None = None, phash: str = "0" * 16) -> Member:
    return Member(IDS[number], f"{number}.png", group, given, phash)  # type: ignore[arg-type]


def splits_of(members: list[Member], earlier: list[Sample] | None = None) -> dict[str, str]:
    return dict(assign(members, earlier or [], POLICY).splits)


def before(number: int, split: str, group: str | None = None, phash: str = "0" * 16) -> Sample:
    return Sample(IDS[number], "path", "label", split, group, 1, 1, "PNG", phash, 0.5, None)


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
    alone = [splits_of([member(number)])[IDS[number]] for number in range(200)]
    together = splits_of([member(number) for number in reversed(range(200))])
    assert [together[name] for name in IDS] == alone


def test_a_group_follows_the_split_given_to_one_of_it() -> None:
    members = [member(0, "g"), member(1, "g", "val"), member(2, "g")]
    assert set(splits_of(members).values()) == {"val"}


def test_new_images_follow_their_group_and_their_group_its_old_images() -> None:
    members = [member(0, "g"), member(1, "g"), member(2, "h"), member(3, "h"), member(4)]
    previous = [before(9, "test", "g"), before(2, "val"), before(4, "test")]
    found = splits_of(members, previous)
    assert [found[name] for name in IDS[:5]] == ["test", "test", "val", "val", "test"]


def test_a_given_split_wins_over_the_previous_one() -> None:
    assert splits_of([member(0, None, "train")], [before(0, "test")]) == {IDS[0]: "train"}


def test_torn_groups_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"the source puts images of one group into different splits: g \(test, train\)"):
        splits_of([member(0, "g", "train"), member(1, "g", "test")])
    with pytest.raises(BadInput, match=r"different splits before: g \(test, val\)\. Give .* split column\."):
        splits_of([member(0, "g"), member(1, "g")], [before(0, "val"), before(1, "test")])


def test_threads_keep_the_order_and_bound_what_waits() -> None:
    taken = 0

    def items() -> object:
        nonlocal taken
        for number in range(100):
            taken = number
            yield number

    results = in_order(lambda number: number * number, items(), 3)  # type: ignore[arg-type]
    assert next(results) == 0
    assert taken < 3 * WAITING_PER_THREAD
    assert list(results) == [number * number for number in range(1, 100)]


def test_what_waits_is_bounded_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "bytes_to_read_ahead", lambda: 10)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for size in [4, 4, 4, 1000, 4]:
            taken.append(size)
            yield size

    results = in_order(lambda size: size, items(), 3, num_bytes=lambda size: size)
    assert next(results) == 4
    assert taken == [4, 4, 4]
    assert list(results) == [4, 4, 1000, 4]


def test_a_failure_in_a_thread_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda number: 1 // number, [1, 1, 0, 1], 2))


LOOKS = st.sampled_from(["f" * 8 + "0" * 8, "f" * 8 + "0" * 6 + "1f", "f" * 7 + "0" * 7 + "ff", "0f" * 8, "0" * 16])
SIDES = st.sampled_from([None, None, "train", "val", "test"])


@settings(max_examples=200, deadline=None)
@given(
    now=st.lists(st.tuples(st.sampled_from("abcd.....").map(lambda name: None if name == "." else name), LOOKS)),
    firm=st.lists(SIDES, min_size=60, max_size=60),
    gone=st.lists(st.tuples(SIDES.filter(bool), LOOKS), max_size=4),
    frozen=st.none() | st.frozensets(st.sampled_from(IDS[:8])),
)
def test_no_picture_and_no_group_ever_stands_on_two_sides(now, firm, gone, frozen) -> None:
    members = [member(number, group, None, phash) for number, (group, phash) in enumerate(now)]
    group_side = {}
    for one, side in zip(members, firm, strict=False):
        group_side.setdefault(one.group or one.id, side)
    held = {one.id: group_side[one.group or one.id] for one in members if group_side[one.group or one.id]}
    earlier = [before(number, held[one.id], None, one.phash) for number, one in enumerate(members) if one.id in held]
    earlier += [before(100 + number, side, None, phash) for number, (side, phash) in enumerate(gone)]
    found = assign(members, earlier, POLICY._replace(frozen=frozen))
    paths = {one.path for one in members if one.id in found.splits}
    assert sorted([*paths, *(entry.path for entry in found.quarantined)]) == sorted(one.path for one in members)
    for one in members:
        if one.id in found.splits and one.id in held and not frozen:
            assert found.splits[one.id] == held[one.id]
        if frozen and found.splits.get(one.id) == "test":
            assert one.id in frozen or held.get(one.id) == "test"
    for one in members:
        for other in members:
            alike = int(one.phash, 16) and (int(one.phash, 16) ^ int(other.phash, 16)).bit_count() <= 10
            if one.id in found.splits and other.id in found.splits and (alike or one.group == other.group is not None):
                assert found.splits[one.id] == found.splits[other.id]


def test_a_new_look_alike_joins_its_neighbours_and_is_left_out_between_two_sides() -> None:
    seen = [before(0, "test", None, "ff00ff00ff00ff00"), before(1, "train", None, "0f00ff00ff00f0ff")]
    members = [member(0, phash="ff00ff00ff00ff00"), member(1, phash="0f00ff00ff00f0ff")]
    near_test, between = member(2, phash="ff00ff00ff00ff07"), member(3, phash="0f00ff00ff00ff0f")
    found = assign([*members, near_test, between], seen, POLICY)
    assert found.splits == {IDS[0]: "test", IDS[1]: "train", IDS[2]: "test"}
    assert found.quarantined == [
        Quarantined(
            "3.png",
            "near-duplicate",
            "nearly the same as 0.png in test (8 bits apart) and 1.png in train (8 bits apart)",
        )
    ]


def test_a_look_alike_of_an_image_that_is_gone_stays_on_its_side() -> None:
    seen = [before(90, "train", None, "ff00ff00ff00ff00")]
    alike = [member(number, phash=f"ff00ff00ff00ff0{number % 8}") for number in range(40)]
    assert set(splits_of(alike, seen).values()) == {"train"}
    assert set(splits_of([one._replace(phash="0" * 16) for one in alike], seen).values()) == {"train", "val", "test"}


def test_of_given_look_alikes_on_two_sides_the_test_image_stays() -> None:
    given_sides = [
        member(0, None, "train", "ff" * 8),
        member(1, None, "test", "ff" * 8),
        member(2, None, "val", "ff" * 8),
    ]
    found = assign(given_sides, [], POLICY)
    assert found.splits == {IDS[1]: "test"}
    assert {entry.path for entry in found.quarantined} == {"0.png", "2.png"}


def test_a_frozen_test_set_takes_nothing_new() -> None:
    members = [member(number) for number in range(100)]
    frozen = POLICY._replace(frozen=frozenset(IDS[:3]))
    found = assign(members, [], frozen).splits
    assert [image_id for image_id, side in found.items() if side == "test"] == IDS[:3]
    assert len(found) == 100  # Those that the hash would put into test are trained on, not lost.
    free = splits_of(members)
    assert all(found[image_id] == "val" for image_id in IDS[3:100] if free[image_id] == "val")
    grouped = assign([member(0, "g"), member(7, "g")], [], frozen)
    assert grouped.splits == {IDS[0]: "test"}
    assert [entry.reason for entry in grouped.quarantined] == ["frozen test"]
