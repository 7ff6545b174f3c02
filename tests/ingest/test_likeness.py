"""Families of look-alikes against brute force, whichever way they are searched; none among the fabrics."""

from pathlib import Path

import conformal_clip_data
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.ingest import likeness
from components.ingest.likeness import as_numbers, bits_apart, families
from components.ingest.perceptual import perceptual_hash

BITS = st.integers(0, 2**64 - 1)


def brute_force(hashes: list[int], max_bits: int) -> list[int]:
    first = list(range(len(hashes)))
    for right, one in enumerate(hashes):
        for left, other in enumerate(hashes[:right]):
            if one and other and (one ^ other).bit_count() <= max_bits:
                low, high = sorted((first[left], first[right]))
                first = [low if number == high else number for number in first]
    return first


@st.composite
def relatives(draw: st.DrawFn) -> list[int]:
    """Hashes of which many are a few flips from each other."""
    found = draw(st.lists(BITS, min_size=1, max_size=4))
    for _ in range(draw(st.integers(0, 12))):
        flips = draw(st.sets(st.integers(0, 63), max_size=14))
        found.append(draw(st.sampled_from(found)) ^ sum(1 << bit for bit in flips))
    return [*found, *draw(st.lists(st.just(0), max_size=2))]


@pytest.mark.parametrize("look_up_cost", [0, 10**9])
@settings(max_examples=12, deadline=None)
@given(hashes=relatives(), max_bits=st.sampled_from([-1, 0, 3, 5, 10]))
def test_families_are_those_of_brute_force(look_up_cost: int, hashes: list[int], max_bits: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "LOOK_UP_COST", look_up_cost)
        patch.setattr(likeness, "PAIRS_AT_ONCE", 7)
        assert families(np.array(hashes, np.uint64), max_bits).tolist() == brute_force(hashes, max_bits)


def test_a_hundred_thousand_hashes_are_searched() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(1, 2**64, 100_000, np.uint64)
    hashes[50_000:50_300] = hashes[:300] ^ np.uint64(0b1011 << 40)
    first = families(hashes, 5)
    assert first[50_000:50_300].tolist() == list(range(300))
    assert (first != np.arange(100_000)).sum() == 300


def test_a_film_is_one_family() -> None:
    rng = np.random.default_rng(0)
    flips = np.array([1 << bit for bit in range(64)], np.uint64)
    frames = np.uint64(0x1234_5678_9ABC_DEF0) ^ flips[rng.integers(0, 64, (20_000, 3))].sum(axis=1)
    assert not families(frames, 10).any()


def test_no_fabric_looks_like_another() -> None:
    files = sorted(Path(conformal_clip_data.__file__).parent.rglob("local*/*.jpg"))[:300]
    hashes = as_numbers([perceptual_hash(Image.open(file).convert("RGB")) for file in files])
    assert len(files) == 300
    assert bits_apart(hashes[:, None], hashes)[~np.eye(300, dtype=bool)].min() >= 12
    assert families(hashes, 10).tolist() == list(range(300))
