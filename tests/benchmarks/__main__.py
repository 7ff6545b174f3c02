"""Run benchmarks, each in a process of its own: all of `tests/benchmarks/`, or those that are named.

`python -m tests.benchmarks [--long] [NAME …]`. One JSON line a benchmark on standard output; exit code 1 when a target
was missed or a benchmark crashed. `--long` runs those of `tests/benchmarks/long/`.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NO_BENCHMARKS = {
    *("__init__", "__main__", "duel", "exports", "fabric", "fastai_peer", "fastai_side", "plain_peer", "plain_side"),
    *("test_duel", "tiny_pipeline", "transfer_place"),
}


def names(folder: Path) -> list[str]:
    """The benchmarks of a folder, by name."""
    return sorted(path.stem for path in folder.glob("*.py") if path.stem not in NO_BENCHMARKS)


def main(arguments: list[str]) -> int:
    """Run them and return the exit code."""
    long = "--long" in arguments
    folder, package = (HERE / "long", "tests.benchmarks.long") if long else (HERE, "tests.benchmarks")
    wanted = [argument for argument in arguments if argument != "--long"]
    known = names(folder)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = []
    for name in wanted or known:
        print(f"benchmark {name}", file=sys.stderr, flush=True)
        if subprocess.run([sys.executable, "-m", f"{package}.{name}"]).returncode:
            failed.append(name)
    if failed:
        print(
            f"{len(failed)} of {len(wanted or known)} missed a target or crashed: {', '.join(failed)}", file=sys.stderr
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
