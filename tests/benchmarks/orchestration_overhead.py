"""A run's time less the steps' own: with Prefect on a warm database, cold, and a step with --engine none."""

import sys

from tests.benchmarks.duel import Target, report
from tests.benchmarks.tiny_pipeline import pipeline

WARM_S, COLD_S, A_STEP_S = 15.0, 22.0, 1.0


def main() -> bool:
    """The steps' own time includes the start of their processes and their imports."""
    with pipeline() as run:
        cold = run("prefect").overhead_s
        forced = ("--force", "gate", "--force", "latency")
        warm = [run("prefect", *forced).overhead_s for _ in range(3)]
        plain = [run("none", *forced) for _ in range(3)]
    a_step_s = [one.overhead_s / max(1, one.steps) for one in plain]
    print(f"overhead: cold {cold:.1f} s, warm {warm}, a step without an engine {a_step_s}", file=sys.stderr)
    allowed = {"cold_ok": cold <= COLD_S, "a_step_ok": max(a_step_s) <= A_STEP_S}
    more = {"cold_s": round(cold, 2), "a_step_none_s": round(sorted(a_step_s)[1], 3), **allowed}
    met = report(
        "orchestration_overhead",
        warm,
        [WARM_S] * len(warm),
        "the fifteen seconds allowed",
        "s",
        Target("<=", 1.0),
        ("prefect",),
        **more,
    )
    return met and all(allowed.values())


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
