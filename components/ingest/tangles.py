"""Look-alikes that stand on several sides of the split: who stays where, and who must go."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from components.ingest.likeness import Hashes, bits_apart, crowds, families
from components.ingest.perceptual import NO_STRUCTURE
from components.interchange.dataset import SplitName
from components.interchange.ledgers import Quarantined

FIRM: tuple[SplitName, ...] = ("test", "val", "train")  # Of two look-alikes on two sides, the earlier here stays.


class Placed(NamedTuple):
    """An image and the side that is known for it, if any; `present` is False for one of an earlier dataset only."""

    path: str
    side: SplitName | None
    group: str | None
    present: bool


class Clash(NamedTuple):
    """The nearest image on a side, and in how many bits it differs."""

    path: str
    side: SplitName
    bits: int


def untangled(
    placed: Sequence[Placed], hashes_N: Hashes, max_bits: int, by_hash: SplitName
) -> tuple[dict[int, SplitName], list[Quarantined]]:
    """The side of each present image that stays, by its place; and the others, as `near-duplicate`.

    Nobody changes a side that is known: of look-alikes on two known sides the one in test stays, then the one in val.
    Images whose side is free join their look-alikes, as one with those of their group and those they resemble; where
    that touches several sides, they take the one that costs fewest images, and those that resemble others go.
    """
    sides: dict[int, SplitName] = {}
    out: list[Quarantined] = []
    for side in FIRM:
        firm = list(sides)
        for index, one in enumerate(placed):
            if one.present and one.side == side:
                clash = _clashes(index, firm, sides, placed, hashes_N, max_bits)
                if clash:
                    out.append(_near_duplicate(one.path, clash[0]))
                else:
                    sides[index] = side
    fixed = {**sides, **{i: one.side for i, one in enumerate(placed) if not one.present and one.side is not None}}
    free = [index for index, one in enumerate(placed) if one.present and one.side is None]
    for places in crowds(families(hashes_N[free], max_bits), [placed[index].group for index in free]):
        crowd = [free[place] for place in places]
        touching = {index: _clashes(index, list(fixed), fixed, placed, hashes_N, max_bits) for index in crowd}
        touched = {clash.side for clashes in touching.values() for clash in clashes}
        cost = {side: sum(any(c.side != side for c in clashes) for clashes in touching.values()) for side in touched}
        chosen = min(cost, key=lambda side: (cost[side], FIRM.index(side)), default=by_hash)
        for index, clashes in touching.items():
            against = [clash for clash in clashes if clash.side != chosen]
            if against:
                out.append(_near_duplicate(placed[index].path, *clashes))
            else:
                sides[index] = chosen
    return sides, out


def _clashes(
    index: int,
    among: Sequence[int],
    sides: dict[int, SplitName],
    placed: Sequence[Placed],
    hashes_N: Hashes,
    max_bits: int,
) -> list[Clash]:
    """The nearest look-alike of an image on each side, nearest first."""
    if not among or hashes_N[index] == int(NO_STRUCTURE, 16):
        return []
    bits = bits_apart(hashes_N[np.array(among)], hashes_N[index])
    nearest: dict[SplitName, Clash] = {}
    for place in np.argsort(bits, kind="stable"):
        if bits[place] > max_bits:
            break
        other = among[place]
        nearest.setdefault(sides[other], Clash(placed[other].path, sides[other], int(bits[place])))
    return list(nearest.values())


def _near_duplicate(path: str, *clashes: Clash) -> Quarantined:
    found = " and ".join(f"{clash.path} in {clash.side} ({clash.bits} bits apart)" for clash in clashes)
    return Quarantined(path, "near-duplicate", f"nearly the same as {found}")
