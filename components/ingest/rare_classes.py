"""Classes so small that the hash leaves a split without one: the images nearest by hash stand in.

Of classes with ten images one in nine would have none in a test set of 20 %.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from components.ingest.splits import Policy, Unit, count, position_of
from components.interchange.dataset import SPLITS, SplitName


def stand_ins(
    splits: Mapping[str, SplitName], units: Sequence[Unit], labels: Mapping[str, str], policy: Policy
) -> dict[str, SplitName]:
    """The new side of every id that must move for each class to have an image on each side, as far as that can be.

    `units` may move, if all their images (by `labels`) are of one class that keeps some where they come from.
    """
    counts = count(((side, labels[name]) for name, side in splits.items()), sorted(set(labels.values())))
    movable = defaultdict[str, list[Unit]](list)
    for unit in units:
        if len(found := {labels[name] for name in unit.ids}) == 1:
            movable[found.pop()].append(unit)
    moved: dict[str, SplitName] = {}
    for label, own in movable.items():
        for side in SPLITS:
            if counts[side][label] or not policy.takes(side):
                continue
            now = {unit: moved.get(unit.ids[0], splits[unit.ids[0]]) for unit in own}
            spare = [unit for unit in own if counts[now[unit]][label] > len(unit.ids)]
            if spare:
                nearest = min(spare, key=lambda unit: (_distance(unit, side, policy), unit.key))
                counts[now[nearest]][label] -= len(nearest.ids)
                counts[side][label] += len(nearest.ids)
                moved.update(dict.fromkeys(nearest.ids, side))
    return moved


def _distance(unit: Unit, side: SplitName, policy: Policy) -> float:
    """How far the hash is from those that the side has by itself."""
    edges = (0.0, policy.test_fraction, policy.test_fraction + policy.val_fraction, 1.0)
    first = ("test", "val", "train").index(side)
    position = position_of(unit.key)
    return max(edges[first] - position, position - edges[first + 1], 0.0)
