"""Freed memory is kept: the second large block costs no page fault. Asked for, it is given back.

In a process of its own, which this changes.
"""

import subprocess
import sys

PROGRAM = """
import resource, sys
from components.interchange.memory import give_back_freed_memory, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    size = 64 * 2**20  # a variable: a product of constants would be folded
    b'x' * size
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = sys.argv[1] == "keep" and keep_freed_memory(2**28)
def address_space():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() if kept else 0

faults()
print(kept, faults())
before = address_space()
give_back_freed_memory()
print(before - address_space())
"""


def faults(mode: str) -> tuple[bool, int, int]:
    out = subprocess.run([sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True, text=True).stdout
    kept, number, given_back = out.split()
    return kept == "True", int(number), int(given_back)


def test_a_large_block_takes_the_pages_of_the_one_before_it() -> None:
    kept, number, given_back = faults("keep")
    if kept:  # On another C library nothing is promised.
        assert number < 100 < faults("as it is")[1]
        assert given_back > 2**27
