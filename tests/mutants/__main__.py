"""Plant a bug in a copy of the code and run the tests that should notice; every mutant must turn them red.

`python -m tests.mutants [NAME …]`. A mutant that survives, or that no longer fits the code, is a failure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.guards import GUARDS
from tests.mutants.planted import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("components", "pipelines", "tests", "pyproject.toml", "README.md")


def plant(mutant: Mutant, copy: Path) -> None:
    """Change the one place; AssertionError when it is not there exactly once."""
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutant.before) == 1, f"{mutant.name}: {mutant.before!r} is not once in {mutant.file}"
    path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")


def suite_is_red(copy: Path, tests: tuple[str, ...]) -> bool:
    """Whether the tests fail in the copy. What pytest itself gets wrong (no tests, a usage error) does not count."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["--hypothesis-profile", "no_shrinking", *tests]
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def survived(mutant: Mutant) -> bool:
    """Plant one mutant in a fresh copy; True when no test notices."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        plant(mutant, copy)
        return not suite_is_red(copy, mutant.tests)


def main(names: list[str]) -> int:
    """Run the mutants of these names, or all; 1 when any survives."""
    chosen = [mutant for mutant in (*MUTANTS, *GUARDS) if not names or mutant.name in names]
    survivors = []
    for mutant in chosen:
        started = time.monotonic()
        alive = survived(mutant)
        survivors += [mutant.name] if alive else []
        print(f"{'SURVIVED' if alive else 'killed':9} {time.monotonic() - started:6.1f} s  {mutant.name}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
