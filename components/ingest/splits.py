"""Train, val or test: decided by the image's content (or its group) alone, so that it holds as the data grows.

Images of one group, and images that look alike, stand on one side. What the source gives wins, then what was before.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from components.ingest.likeness import Indices, as_numbers, crowds, families
from components.ingest.tangles import Placed, untangled
from components.interchange.dataset import SPLITS, SplitName
from components.interchange.errors import BadInput, listed
from components.interchange.ledgers import Quarantined


class Member(NamedTuple):
    """What decides an image's split: id, path, group, the split that the source gives it, perceptual hash."""

    id: str
    path: str
    group: str | None
    given: SplitName | None
    phash: str


class Earlier(Protocol):
    """An image that was split before: a sample of the previous dataset, or an image of the champion's lineage."""

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def group(self) -> str | None: ...
    @property
    def phash(self) -> str: ...


class Policy(NamedTuple):
    """How images are split; `frozen` are the ids that make up the test set, where it is frozen or given whole."""

    val_fraction: float
    test_fraction: float
    max_near_bits: int
    frozen: frozenset[str] | None = None
    val_is_given: bool = False

    def takes(self, side: SplitName) -> bool:
        """Whether the hash may put images there."""
        return not (side == "test" and self.frozen is not None) and not (side == "val" and self.val_is_given)


class Unit(NamedTuple):
    """Ids that stand on one side together, where nothing but the hash of `key` says on which."""

    key: str
    ids: tuple[str, ...]


class Assignment(NamedTuple):
    """The split of every id; images that can stand on no side; [N] of each member the first of its look-alikes; what
    nothing but a hash has put where it is.
    """

    splits: dict[str, SplitName]
    quarantined: list[Quarantined]
    family_N: Indices
    by_hash: list[Unit]


def position_of(key: str) -> float:
    """Where a key lies between 0 and 1, by its hash: the same on every machine, whatever else is in the dataset."""
    # Hashed once more: ids also order the shards, and splits must not depend on that order.
    return int.from_bytes(hashlib.sha256(f"graft.split/1 {key}".encode()).digest()[:8]) / 2**64


def split_of(key: str, val_fraction: float, test_fraction: float) -> SplitName:
    """The split of a key, by its position: test first, then val, then train."""
    position = position_of(key)
    if position < test_fraction:
        return "test"
    return "val" if position < test_fraction + val_fraction else "train"


def held_before(earlier: Iterable[Earlier]) -> dict[str, SplitName]:
    """The split that images and groups had, by key."""
    held: dict[str, SplitName] = {}
    for image in earlier:
        split: SplitName = next(name for name in SPLITS if name == image.split)
        held[key_of(image.id, None)] = split
        if image.group is not None:
            held[key_of(image.id, image.group)] = split
    return held


def side_before(image_id: str, held: Mapping[str, SplitName]) -> SplitName | None:
    """The split that an image had, if any."""
    return held.get(key_of(image_id, None)) if held else None


def key_of(image_id: str, group: str | None) -> str:
    """What an image is split by."""
    return f"image {image_id}" if group is None else f"group {group}"


def assign(members: Sequence[Member], earlier: Sequence[Earlier], policy: Policy) -> Assignment:
    """The split of every image.

    Those of one group, and those whose hashes differ in at most `max_near_bits`, come on one side: the one that is
    known for any of them, else that of the hash. Where look-alikes stand on several sides, those are quarantined that
    would bring a picture onto two. BadInput when images of one group are given, or had before, different splits.
    """
    held = held_before(earlier)
    known = _known_sides(members, held, policy.frozen)
    present = {member.id for member in members}
    ghosts = [image for image in earlier if image.id not in present]  # Gone from the source, but models have seen them.
    hashes_N = as_numbers([*(member.phash for member in members), *(ghost.phash for ghost in ghosts)])
    family_N = families(hashes_N, policy.max_near_bits)
    placed = [
        *(Placed(member.path, known[member.id], member.group, True) for member in members),
        *(Placed("an image of before", held[key_of(ghost.id, None)], ghost.group, False) for ghost in ghosts),
    ]
    found = Assignment({}, [], family_N[: len(members)], [])
    for together in crowds(family_N, [image.group for image in placed]):
        here = [members[index] for index in together if index < len(members)]
        if not here:
            continue
        sides = {placed[index].side for index in together} - {None}
        unit = Unit(min(key_of(member.id, member.group) for member in here), tuple(member.id for member in here))
        by_hash = _by_hash(unit.key, policy)
        if not sides:
            found.by_hash.append(unit)
        if len(sides) <= 1:
            found.splits.update(dict.fromkeys(unit.ids, next(iter(sides), None) or by_hash))
            continue
        side_of, torn = untangled([placed[i] for i in together], hashes_N[together], policy.max_near_bits, by_hash)
        found.quarantined.extend(torn)
        found.splits.update({members[together[place]].id: side for place, side in side_of.items()})
    if policy.frozen is not None:
        _keep_frozen(
            found, members, {*policy.frozen, *(one.id for one in members if side_before(one.id, held) == "test")}
        )
    return found


def _known_sides(
    members: Sequence[Member], held: Mapping[str, SplitName], frozen: Collection[str] | None
) -> dict[str, SplitName | None]:
    """By id: frozen, else given (to it or its group), else as before (it or its group), else None."""
    known: dict[str, SplitName | None] = {}
    together: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        if member.group is not None:
            together[key_of(member.id, member.group)].append(member)
        else:
            is_frozen = frozen is not None and member.id in frozen
            known[member.id] = "test" if is_frozen else member.given or side_before(member.id, held)
    given = {key: {member.given for member in group if member.given} for key, group in together.items()}
    _check_groups("the source puts images of one group into different splits", given, ", or leave it empty for them")
    before = {
        key: {held[name] for name in (key, *(key_of(member.id, None) for member in group)) if name in held}
        for key, group in together.items()
        if not given[key]
    }
    _check_groups("images of one group were in different splits before", before)
    for key, group in together.items():
        is_frozen = frozen is not None and any(member.id in frozen for member in group)
        side = "test" if is_frozen else next(iter(given[key] or before[key]), None)
        known.update(dict.fromkeys((member.id for member in group), side))
    return known


def _by_hash(key: str, policy: Policy) -> SplitName:
    side = split_of(key, policy.val_fraction, policy.test_fraction)
    return side if policy.takes(side) else "train"


def _keep_frozen(found: Assignment, members: Sequence[Member], allowed: Collection[str]) -> None:
    """A frozen test set takes no new images: those that belong to it are quarantined."""
    for index, member in enumerate(members):
        if found.splits.get(member.id) == "test" and member.id not in allowed:
            alike = (found.family_N == found.family_N[index]).sum() > 1
            reason = "near-duplicate" if alike else "frozen test"
            by = "looks" if alike else f"group {member.group}"
            detail = f"it belongs to test images (by {by}), and the test set is fixed, by --test-manifest or the source"
            found.quarantined.append(Quarantined(member.path, reason, detail))
            del found.splits[member.id]


def check_given_to_frozen(members: Iterable[Member], frozen: Collection[str]) -> None:
    """BadInput where the source gives another split to an image of the frozen test set, or test to one that is not."""
    against = [one.path for one in members if one.given and (one.given == "test") != (one.id in frozen)]
    if against:
        raise BadInput(
            f"the source's splits and --test-manifest disagree on {len(against)} images: {listed(against)}. Expected "
            "test for the images of the test manifest and for no others: empty the cells, or mend the manifest."
        )


def _check_groups(problem: str, splits: Mapping[str, set[SplitName]], otherwise: str = "") -> None:
    torn = {key: sorted(found) for key, found in splits.items() if len(found) > 1}
    if torn:
        groups = listed(f"{key.removeprefix('group ')} ({', '.join(found)})" for key, found in sorted(torn.items()))
        raise BadInput(f"{problem}: {groups}. Give each of them one split in the split column{otherwise}.")


def count(labels: Iterable[tuple[SplitName, str]], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Images by split and class; 0 where there are none."""
    counts: dict[str, dict[str, int]] = {split: dict.fromkeys(classes, 0) for split in SPLITS}
    for split, label in labels:
        counts[split][label] += 1
    return counts
