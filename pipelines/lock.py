"""One run at a time for each model name of a store, and none while the store is cleared.

The kernel frees a lock when its holder dies, however it dies.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from components.interchange.errors import BadInput


@contextmanager
def only_run(store: Path, model_name: str, run_id: str) -> Iterator[None]:
    """Hold the lock of a model name; BadInput while another run holds it, or while the store is cleared."""
    with _opened(store, "store") as whole, _opened(store, f"{model_name}.lock") as stream:
        if not _held(whole, fcntl.LOCK_SH):
            raise BadInput(f"the store is being cleared ({_holder(whole)}). Wait for its end.")
        if not _held(stream, fcntl.LOCK_EX):
            raise BadInput(
                f"another run of model {model_name!r} is under way in this store ({_holder(stream)}). "
                "Wait for its end, or give this one another --model-name."
            )
        _sign(stream, f"run {run_id}")
        yield


@contextmanager
def only_schedule(store: Path, model_name: str) -> Iterator[None]:
    """Hold the lock of a model name's schedule; BadInput while another process serves one."""
    with _opened(store, f"{model_name}.schedule") as stream:
        if not _held(stream, fcntl.LOCK_EX):
            raise BadInput(
                f"a schedule of model {model_name!r} is served already ({_holder(stream)}). "
                "End it first, or give this one another --model-name."
            )
        _sign(stream, "graft serve")
        yield


@contextmanager
def no_run(store: Path, what: str) -> Iterator[None]:
    """Keep every run out of a store; BadInput while one is under way."""
    with _opened(store, "store") as whole:
        if not _held(whole, fcntl.LOCK_EX):
            raise BadInput("a run is under way in this store, or it is being cleared. Wait for its end.")
        _sign(whole, what)
        yield


def _opened(store: Path, name: str) -> TextIO:
    try:
        (store / "locks").mkdir(parents=True, exist_ok=True)
        return (store / "locks" / name).open("a+")
    except OSError as error:
        raise BadInput(
            f"{store} cannot be written to ({error.strerror}). Check --store; copies of one on S3 lie in GRAFT_CACHE."
        ) from None


def _held(stream: TextIO, how: int) -> bool:
    try:
        fcntl.flock(stream, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(stream: TextIO) -> str:
    stream.seek(0)
    return stream.read().strip() or "unknown"


def _sign(stream: TextIO, what: str) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(f"{what}, process {os.getpid()}\n")
    stream.flush()
