"""Memory for threads: what is small side by side, what is huge one after the other; as much as a container has."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from components.interchange import pixels
from components.interchange.memory_budget import MemoryBudget, usable_bytes
from components.interchange.pixels import decode_short
from tests.interchange.control_groups import write_groups
from tests.interchange.test_pixels import encoded, noise

THERE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
V1, V2 = "4:memory:/pod/one\n1:cpu:/\n0::/\n", "0::/pod/one\n"


@pytest.mark.parametrize(
    ("own", "files", "usable"),
    [
        (V2, {"pod/one/memory.max": "max\n", "pod/memory.max": "3000000\n"}, 3_000_000),
        (V2, {"pod/one/memory.max": "2000000\n", "pod/memory.max": "3000000\n"}, 2_000_000),
        (V2, {"pod/one/memory.max": "max\n"}, THERE),
        (V2, {}, THERE),
        (V1, {"memory/pod/one/memory.limit_in_bytes": "4000000\n"}, 4_000_000),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, THERE),
    ],
)
def test_a_container_s_limit_counts_where_it_is_less_than_the_machine_has(
    tmp_path: Path, own: str, files: dict[str, str], usable: int
) -> None:
    assert usable_bytes(write_groups(tmp_path, own, files), tmp_path) == usable


def test_small_ones_have_it_at_the_same_time() -> None:
    budget, both = MemoryBudget(lambda: 10), threading.Barrier(2)

    def small() -> None:
        with budget.taken(5):
            both.wait(timeout=10)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(small) for _ in range(2)]:
            done.result()


@pytest.mark.parametrize("num_bytes", [6, 1000])
def test_those_that_do_not_fit_together_have_it_one_after_the_other(num_bytes: int) -> None:
    budget, inside, most = MemoryBudget(lambda: 10), 0, 0

    def huge(number: int) -> None:
        nonlocal inside, most
        try:
            with budget.taken(num_bytes):
                inside += 1
                most = max(most, inside)
                threading.Event().wait(0.005)
                inside -= 1
                if number == 0:
                    raise ValueError
        except ValueError:
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(huge, range(8)))
    assert most == 1


def test_images_that_take_much_are_decoded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    side = threading.Lock()

    def load(image: Image.Image, data: bytes) -> None:
        assert side.acquire(blocking=False)
        threading.Event().wait(0.005)
        side.release()

    data = encoded(Image.fromarray(noise(200, 200)), "WEBP")
    monkeypatch.setattr(pixels, "DECODING", MemoryBudget(lambda: 17 * 200 * 200))
    monkeypatch.setattr(pixels, "load", load)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: decode_short(data, 40, "bicubic"), range(8)))
