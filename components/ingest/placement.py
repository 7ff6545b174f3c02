"""From the pictures that can be used to those that are used, each on its side of the split."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from components.ingest.copies import without_copies
from components.ingest.likeness import crowds
from components.ingest.pictures import Picture
from components.ingest.rare_classes import stand_ins
from components.ingest.spec import OnConflict
from components.ingest.splits import Earlier, Member, Policy, assign, check_given_to_frozen, held_before, side_before
from components.interchange.dataset import SPLITS, SplitName
from components.interchange.ledgers import Quarantined


class Placement(NamedTuple):
    """The pictures of each split, sorted by id; the files that are left out; who is like whom.

    `conflicts` and `copies` are sets of equal pictures, under several labels or one; `families` are sets of two or more
    pictures that look alike; `crowd` are the most that stand on one side because they look alike or share a group, step
    by step; `stood_in` are the classes that the hash would have left without a picture on some side; `beside_frozen`
    the test pictures that a frozen test set does not name, and that stood in test before.
    """

    sides: dict[SplitName, list[Picture]]
    quarantined: list[Quarantined]
    conflicts: list[list[Picture]]
    copies: list[list[Picture]]
    families: list[list[Picture]]
    crowd: list[Picture]
    stood_in: list[str]
    beside_frozen: list[Picture]


def placed(
    pictures: Sequence[Picture], earlier: Sequence[Earlier], policy: Policy, on_conflict: OnConflict
) -> Placement:
    """Leave out copies and conflicts, and give every other picture a split. BadInput as `splits.assign`."""
    held = held_before(earlier)
    frozen = policy.frozen

    def side_of(one: Picture) -> SplitName | None:
        return "test" if frozen and one.id in frozen else one.source.split or side_before(one.id, held)

    distinct = without_copies(pictures, side_of, {image.id: image.group for image in earlier}, on_conflict)
    members = [
        Member(one.id, one.source.path, one.source.group, one.source.split, one.look.phash) for one in distinct.pictures
    ]
    if frozen is not None:
        check_given_to_frozen(members, frozen)
    found = assign(members, earlier, policy)
    labels = {one.id: one.source.label for one in distinct.pictures}
    moved = stand_ins(found.splits, found.by_hash, labels, policy)
    splits = found.splits | moved
    sides: dict[SplitName, list[Picture]] = {split: [] for split in SPLITS}
    families: dict[int, list[Picture]] = defaultdict(list)
    for picture, family in zip(distinct.pictures, found.family_N.tolist(), strict=True):
        families[family].append(picture)
        if picture.id in splits:
            sides[splits[picture.id]].append(picture)
    together = crowds(found.family_N, [member.group for member in members])
    return Placement(
        sides,
        distinct.quarantined + found.quarantined,
        distinct.conflicts,
        distinct.copies,
        [family for family in families.values() if len(family) > 1],
        [distinct.pictures[index] for index in max(together, key=len, default=[])],
        sorted({labels[name] for name in moved}),
        [] if frozen is None else [one for one in sides["test"] if one.id not in frozen],
    )
