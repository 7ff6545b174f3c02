"""A fully unchanged re-run of the whole pipeline, a process of its own, against the five seconds that are allowed."""

import sys

from tests.benchmarks.duel import Target, report
from tests.benchmarks.tiny_pipeline import pipeline

ALLOWED_S = 5.0


def main() -> bool:
    """What the command takes from its start to its end."""
    with pipeline() as run:
        assert run("none").verdict == "promote"
        again = [run("prefect") for _ in range(5)]
        assert {one.verdict for one in again} == {"unchanged"}
    ours = [one.seconds for one in again]
    return report("unchanged_rerun", ours, [ALLOWED_S] * len(ours), "the five seconds allowed", "s", Target("<=", 1.0))


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
