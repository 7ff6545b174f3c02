"""Train, val or test: decided by the image's content (or its group) alone, so that it holds as the data grows."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from components.interchange.dataset import SPLITS, SplitName
from components.interchange.errors import BadInput, listed
from components.interchange.ledgers import Sample


class Member(NamedTuple):
    """What decides an image's split: its id, its group and the split that the source gives it."""

    id: str
    group: str | None
    given: SplitName | None


def split_of(key: str, val_fraction: float, test_fraction: float) -> SplitName:
    """The split of a key, by its hash: the same on every machine, whatever else is in the dataset."""
    # Hashed once more: ids also order the shards, and splits must not depend on that order.
    position = int.from_bytes(hashlib.sha256(f"graft.split/1 {key}".encode()).digest()[:8]) / 2**64
    if position < test_fraction:
        return "test"
    return "val" if position < test_fraction + val_fraction else "train"


def assign(
    members: Sequence[Member], val_fraction: float, test_fraction: float, previous: Iterable[Sample] = ()
) -> dict[str, SplitName]:
    """The split of every id. A group stays together.

    A given split wins, then the split of the previous dataset (of the image or its group), then the hash. BadInput when
    images of one group are given, or had before, different splits.
    """
    held: dict[str, SplitName] = {}
    for sample in previous:
        split: SplitName = next(name for name in SPLITS if name == sample.split)
        held[_key(sample.id, None)] = split
        if sample.group is not None:
            held[_key(sample.id, sample.group)] = split
    together: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        together[_key(member.id, member.group)].append(member)
    given = {key: {member.given for member in group if member.given} for key, group in together.items()}
    _check_groups("the source puts images of one group into different splits", given)
    before = {
        key: {held[name] for name in (key, *(_key(member.id, None) for member in group)) if name in held}
        for key, group in together.items()
        if not given[key]
    }
    _check_groups("the previous dataset holds images of one group in different splits", before)
    found: dict[str, SplitName] = {}
    for key, group in together.items():
        known = given[key] or before[key]
        split = next(iter(known)) if known else split_of(key, val_fraction, test_fraction)
        found.update({member.id: split for member in group})
    return found


def _key(image_id: str, group: str | None) -> str:
    return f"image {image_id}" if group is None else f"group {group}"


def _check_groups(problem: str, splits: Mapping[str, set[SplitName]]) -> None:
    torn = {key: sorted(found) for key, found in splits.items() if len(found) > 1}
    if torn:
        groups = listed(f"{key.removeprefix('group ')} ({', '.join(found)})" for key, found in sorted(torn.items()))
        raise BadInput(f"{problem}: {groups}. Give each group one split, or leave the split column empty for it.")


def count(labels: Iterable[tuple[SplitName, str]], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Images by split and class; 0 where there are none."""
    counts: dict[str, dict[str, int]] = {split: dict.fromkeys(classes, 0) for split in SPLITS}
    for split, label in labels:
        counts[split][label] += 1
    return counts


def check_counts(counts: Mapping[str, Mapping[str, int]]) -> None:
    """BadInput when a class has no image in train, val or test."""
    short = [label for label in counts["train"] if not all(counts[split][label] for split in SPLITS)]
    if short:
        found = listed(
            f"{label} ({', '.join(f'{split} {counts[split][label]}' for split in SPLITS)})" for label in short
        )
        raise BadInput(
            f"{len(short)} classes have too few images for the split: {found}. Expected at least one in each of train, "
            "val and test: add images, change --val-fraction or --test-fraction, or give splits in a manifest."
        )
