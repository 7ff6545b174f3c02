"""Train in a process of its own that may be killed at any moment, and again, until it is through."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from components.finetune.spec import Finetune
from components.interchange.artifact import digest
from components.interchange.cli import main
from tests.warm import SERVER

SIGTERM_EXIT = 143

Kill = Callable[[multiprocessing.process.BaseProcess], None]


def step(argv: list[str], said: str = os.devnull) -> None:
    """The step's command line, in the child. Its standard error is the server's, not the test's, unless moved."""
    with Path(said).open("ab") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    sys.exit(main(Finetune, argv))


def run_until(argv: list[str], kill: Kill, said: str = os.devnull) -> int | None:
    """Start the step, let `kill` do its worst, and return the exit code; standard error is added to the file `said`."""
    child = SERVER.Process(target=step, args=(argv, said))
    child.start()
    kill(child)
    child.join(120)
    assert child.exitcode is not None, "the step neither ended nor obeyed its signal"
    return child.exitcode


def warm_up() -> None:
    """Start the server and wait until it has imported everything."""
    child = SERVER.Process(target=time.sleep, args=(0,))
    child.start()
    child.join()


def undisturbed(child: multiprocessing.process.BaseProcess) -> None:
    """No kill at all."""


def after(seconds: float, signal: str) -> Kill:
    """Kill after a time: `SIGKILL` or `SIGTERM`."""

    def kill(child: multiprocessing.process.BaseProcess) -> None:
        child.join(seconds)
        child.kill() if signal == "SIGKILL" else child.terminate()

    return kill


def at_checkpoint(folder: Path, number: int, signal: str) -> Kill:
    """Kill when the step has written this many checkpoints."""

    def inode() -> int:
        blob = folder / "training.safetensors"
        return blob.stat().st_ino if blob.exists() else 0

    def kill(child: multiprocessing.process.BaseProcess) -> None:
        last, written = inode(), 0
        while child.is_alive() and written < number:
            now = inode()
            written, last = written + (now != last), now
            time.sleep(0.001)
        child.kill() if signal == "SIGKILL" else child.terminate()

    return kill


def while_writing(folder: Path) -> Kill:
    """SIGKILL as soon as a checkpoint is being written, after the first one."""

    def kill(child: multiprocessing.process.BaseProcess) -> None:
        while child.is_alive():
            if (folder / "training.safetensors").exists() and any((folder / ".partial").iterdir()):
                child.kill()
                return
            time.sleep(0.0002)

    return kill


def outcome(argv: list[str]) -> tuple[str, str]:
    """Content digests of the classifier and the report that a command line names."""
    return tuple(digest(Path(argv[argv.index(flag) + 1])) for flag in ("--classifier", "--report"))  # type: ignore[return-value]
