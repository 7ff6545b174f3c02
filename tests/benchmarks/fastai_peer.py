"""fastai in an environment of its own (`make .venv-fastai/installed`), asked by command line."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.benchmarks.duel import ENVIRON

PYTHON = Path(os.environ.get("GRAFT_FASTAI", ".venv-fastai/bin/python"))
SIDE = Path(__file__).with_name("fastai_side.py")


def fastai(what: str, images: Path, weights: Path) -> dict[str, Any]:
    """What `fastai_side.py` says, for `speed` or `accuracy`."""
    return dict(json.loads(_said([str(SIDE), what, str(images), str(weights)])))


def fastai_version() -> str:
    """The version that is installed there."""
    return _said(["-c", "from importlib.metadata import version; print(version('fastai'))"]).strip()


def _said(arguments: list[str]) -> str:
    if not PYTHON.exists():
        raise SystemExit(f"fastai is not at {PYTHON}: run `make .venv-fastai/installed`, or set GRAFT_FASTAI")
    done = subprocess.run([str(PYTHON), *arguments], env=ENVIRON, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]
