"""One run at a time for each model name of a store. The kernel frees the lock when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.interchange.errors import BadInput


@contextmanager
def only_run(store: Path, model_name: str, run_id: str) -> Iterator[None]:
    """Hold the lock of a model name; BadInput while another run holds it."""
    folder = store / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / f"{model_name}.lock").open("a+")
    except OSError as error:
        raise BadInput(f"--store {store} cannot be written to ({error}).") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise BadInput(
                f"another run of model {model_name!r} is under way in {store} ({holder}). "
                "Wait for its end, or give this one another --model-name."
            ) from None
        stream.seek(0)
        stream.truncate()
        stream.write(f"run {run_id}, process {os.getpid()}\n")
        stream.flush()
        yield
