"""The plain loop, in a process of its own: with Graft's settings of memory and threads it would be another one."""

import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.duel import ENVIRON

EPOCHS = 5


def plain(what: str, images: Path) -> dict[str, float]:
    """What `plain_side` says, for `head` or `all`."""
    command = [sys.executable, "-m", "tests.benchmarks.plain_side", what, str(images)]
    done = subprocess.run(command, env=ENVIRON, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))
