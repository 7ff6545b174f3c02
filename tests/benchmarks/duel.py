"""Ours against a peer on the same work: both sides in turn, several times, and one JSON line at the end."""

import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

Side = Callable[[], float]
ENVIRON = dict(os.environ)  # For peers: before a step has set what suits it.


@dataclass(frozen=True)
class Target:
    """The ratio ours/peer that is wanted: `>=` where more is better (a rate), `<=` where less is (a time)."""

    sense: Literal[">=", "<="]
    ratio: float

    def met_by(self, ratio: float) -> bool:
        """Whether a measured ratio reaches the target."""
        return ratio >= self.ratio if self.sense == ">=" else ratio <= self.ratio

    def __str__(self) -> str:
        return f"{self.sense} {self.ratio:g}"


def alternate(ours: Side, peer: Side, n: int, warmups: int = 1) -> tuple[list[float], list[float]]:
    """Figures of both sides, `n` each, measured in turn after `warmups` turns that do not count."""
    for _ in range(warmups):
        ours(), peer()
    pairs = []
    for turn in range(n):
        pairs.append((ours(), peer()))
        print(f"turn {turn + 1}/{n}: ours {pairs[-1][0]:.4g}, peer {pairs[-1][1]:.4g}", file=sys.stderr, flush=True)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def report(
    benchmark: str,
    ours: list[float],
    peer: list[float],
    peer_name: str,
    unit: str,
    target: Target | None,
    packages: tuple[str, ...] = (),
    threads: int | None = None,
    **more: object,
) -> bool:
    """Print the benchmark's line: medians, and the median of the ratios pair by pair. True where the target is met."""
    ratio = statistics.median(one / other for one, other in zip(ours, peer, strict=True))
    ok = target is None or target.met_by(ratio)
    line = {
        "benchmark": benchmark,
        "ours": _rounded(statistics.median(ours)),
        "peer": _rounded(statistics.median(peer)),
        "peer_name": peer_name,
        "unit": unit,
        "ratio": _rounded(ratio),
        "target": None if target is None else str(target),
        "ok": ok,
        "n": len(ours),
        "machine": machine(packages, threads),
        **more,
    }
    print(json.dumps(line), flush=True)
    return ok


def machine(packages: tuple[str, ...] = (), threads: int | None = None) -> dict[str, object]:
    """What a figure is worth nothing without: processor, cores, threads, Python, versions of the packages at work."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor(),
        "cores": cores,
        "threads": cores if threads is None else threads,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def processor() -> str:
    """The processor's name, and which of the instructions that matter here it has."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    have = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if f" {name} " in f"{text} "]
    return f"{named[1] if named else platform.machine()} ({', '.join(have)})"


def _rounded(figure: float) -> float:
    return float(f"{figure:.4g}")
