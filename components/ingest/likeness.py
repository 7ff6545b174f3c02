"""Which pictures look alike: families of 64-bit perceptual hashes that differ in few bits.

Hashes that differ in at most B bits differ in at most B // 4 of one of their four parts of 16 bits, so that only those
with nearly equal parts need to be compared: M. Norouzi, A. Punjani, D. J. Fleet, "Fast Search in Hamming Space with
Multi-Index Hashing" (CVPR 2012), section 3. Legend: N pictures, U different hashes, P pairs.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from components.ingest.perceptual import NO_STRUCTURE

PARTS, PART_BITS = 4, 16
PAIRS_AT_ONCE = 1 << 21  # About 100 MB of memory.
ROWS_AT_ONCE = 128  # Of each block of rows half of its pairs with itself are for nothing.
LOOK_UP_COST = 3  # A pair that is looked up costs as much as three that follow each other.
Indices = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def as_numbers(phashes: Sequence[str]) -> Hashes:
    """Perceptual hashes in hex as [N] numbers."""
    return np.array([int(phash, 16) for phash in phashes], np.uint64)


def bits_apart(one: Hashes, other: Hashes) -> NDArray[np.uint8]:
    """In how many bits hashes differ; the two broadcast."""
    bits: NDArray[np.uint8] = np.bitwise_count(one ^ other)
    return bits


def families(hashes_N: Hashes, max_bits: int) -> Indices:
    """[N]: of each picture the first of its family. A family is held together by steps of at most `max_bits`.

    With a negative `max_bits`, and for pictures without structure, each is a family of its own.
    """
    first_N = np.arange(len(hashes_N))
    (seen,) = np.nonzero(hashes_N != int(NO_STRUCTURE, 16))
    if max_bits < 0 or not len(seen):
        return first_N
    different_U, at_U, which = np.unique(hashes_N[seen], return_index=True, return_inverse=True)
    root_U = _roots(different_U, max_bits)
    earliest_U = np.full(len(different_U), len(hashes_N))
    np.minimum.at(earliest_U, root_U, seen[at_U])
    first_N[seen] = earliest_U[root_U[which]]
    return first_N


def crowds(family_N: Indices, groups: Sequence[str | None]) -> list[list[int]]:
    """Indices that belong together, by family or by group, step by step; in order."""
    first_of: dict[str, int] = {}
    pairs = [(index, first_of.setdefault(group, index)) for index, group in enumerate(groups) if group is not None]
    grouped_P, first_P = np.array(pairs, np.int64).reshape(-1, 2).T
    sets: dict[int, list[int]] = defaultdict(list)
    for index, root in enumerate(_joined(family_N.copy(), grouped_P, first_P).tolist()):
        sets[root].append(index)
    return list(sets.values())


def _roots(hashes_U: Hashes, max_bits: int) -> Indices:
    """[U]: of each hash the first of its family."""
    radius = max_bits // PARTS
    flips = [sum(1 << bit for bit in bits) for few in range(radius + 1) for bits in combinations(range(PART_BITS), few)]
    parts = [(hashes_U >> np.uint64(part * PART_BITS)).astype(np.int64) & (1 << PART_BITS) - 1 for part in range(PARTS)]
    root_U = np.arange(len(hashes_U))
    tables = PARTS * len(flips) << PART_BITS
    if LOOK_UP_COST * tables >= len(hashes_U) ** 2:
        return _row_by_row(hashes_U, max_bits, root_U)
    if LOOK_UP_COST * sum(_num_candidates(part_U, flips) for part_U in parts) >= len(hashes_U) ** 2:
        return _row_by_row(hashes_U, max_bits, root_U)
    for part_U in parts:
        for left_P, right_P in _candidates(part_U, flips):
            near_P = bits_apart(hashes_U[left_P], hashes_U[right_P]) <= max_bits
            root_U = _joined(root_U, left_P[near_P], right_P[near_P])
    return root_U


def _row_by_row(hashes_U: Hashes, max_bits: int, root_U: Indices) -> Indices:
    """Where they are few, or many alike (a film): all pairs, some rows at a time. A family needs no comparing."""
    rows_at_once = min(ROWS_AT_ONCE, max(1, PAIRS_AT_ONCE // max(1, len(hashes_U))))
    for start in range(0, len(hashes_U), rows_at_once):
        rows = np.arange(start, min(start + rows_at_once, len(hashes_U)))
        others = np.arange(start + 1, len(hashes_U))
        if len(rows) and (root_U[rows] == root_U[start]).all():
            others = others[root_U[others] != root_U[start]]
        near_R, near_O = np.nonzero(bits_apart(hashes_U[rows, None], hashes_U[others]) <= max_bits)
        root_U = _joined(root_U, rows[near_R], others[near_O])
    return root_U


def _num_candidates(part_U: Indices, flips: Sequence[int]) -> int:
    counts = np.bincount(part_U, minlength=1 << PART_BITS)
    values = np.arange(1 << PART_BITS)
    return len(flips) * len(part_U) + sum(int(counts @ counts[values ^ flip]) for flip in flips)


def _candidates(part_U: Indices, flips: Sequence[int]) -> Iterator[tuple[Indices, Indices]]:
    """Pairs whose parts differ by one of the flips, each once."""
    order = np.argsort(part_U, kind="stable")
    sorted_U = part_U[order]
    counts = np.bincount(part_U, minlength=1 << PART_BITS)
    starts = np.cumsum(counts) - counts
    for flip in flips:
        # Of a pair, the one that lacks the highest flipped bit looks for the other.
        (rows,) = np.nonzero(sorted_U & (1 << flip.bit_length() - 1 if flip else 0) == 0)
        wanted = sorted_U[rows] ^ flip
        for some in _slices(counts[wanted]):
            many = counts[wanted[some]]
            left = np.repeat(rows[some], many)
            right = np.repeat(starts[wanted[some]] - (np.cumsum(many) - many), many) + np.arange(len(left))
            once = slice(None) if flip else left < right
            yield order[left[once]], order[right[once]]


def _slices(sizes: Indices) -> Iterator[slice]:
    """Cut where the sizes add up to PAIRS_AT_ONCE."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start] - sizes[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + PAIRS_AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop


def _joined(root_U: Indices, left_P: Indices, right_P: Indices) -> Indices:
    """Roots [U] once the pairs are joined, in place; every root is the smallest of its set."""
    while True:
        one, other = root_U[left_P], root_U[right_P]
        apart = one != other
        if not apart.any():
            return root_U
        left_P, right_P, one, other = left_P[apart], right_P[apart], one[apart], other[apart]
        np.minimum.at(root_U, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(root_U, root_U[root_U]):
            root_U = root_U[root_U]
