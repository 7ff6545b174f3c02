"""Checkpoints: the state of a training as one blob, written whole or not at all, read back by the same training only.

    training.safetensors    tensors by name; in its header, as JSON, the progress and whose training it is

Nothing random is in it: every batch's numbers follow from seed, epoch and batch (`sampling.py`).
"""

import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from components.finetune.state import Progress, State
from components.interchange.artifact import to_json
from components.interchange.blobs import Blobs, open_blobs
from components.interchange.errors import BadInput, listed
from components.interchange.state_dicts import savable

log = logging.getLogger("graft")
BLOB = "training.safetensors"
FORMAT = "graft.checkpoint/3"


class Checkpoints:
    """The checkpoints of one training at a URI, a folder or s3://. `identity` says what they continue, as plain JSON
    values: parameters, input digests, weights, device, precision. Of several processes one `writes`, and all read.
    """

    def __init__(self, uri: str, every_s: float, identity: dict[str, Any], writes: bool = True) -> None:
        self.blobs: Blobs = open_blobs(uri)
        self.every_s, self.writes = every_s, writes
        self.identity: dict[str, Any] = json.loads(to_json(identity))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._saved_at = time.monotonic()
        self._last = ""

    def restore(self, state: State) -> bool:
        """Continue from the checkpoint, if there is one. BadInput when it is another training's, or damaged."""
        data = self.blobs.get(BLOB)
        if data is None:
            return False
        where = f"the checkpoint {self.blobs.uri}/{BLOB}"
        header, tensors = _read(data, where)
        changes = _differences(header["identity"], self.identity)
        if changes:
            raise BadInput(
                f"{where} belongs to another training: {listed(changes)}. Remove it to start anew, or name another "
                "--checkpoint-uri."
            )
        state.load(tensors)
        state.progress = Progress.model_validate(header["progress"])
        self._last, state.saved = self._place(state), self.last
        log.info("resumed=%s epoch=%d batch=%d", self.blobs.uri, state.progress.epoch, state.progress.batch)
        return True

    def _place(self, state: State) -> str:
        return f"{self.blobs.uri}/{BLOB} (epoch {state.progress.epoch}, batch {state.progress.batch})"

    def due(self) -> bool:
        """Whether the interval has passed and the last checkpoint is written."""
        idle = self._writing is None or self._writing.done()
        return self.writes and idle and time.monotonic() - self._saved_at >= self.every_s

    def save(self, state: State) -> None:
        """Copy the state now and write it while training goes on. What failed last time is said, and tried again."""
        self.finish()
        state.see_losses()
        if not self.writes:
            return
        data = save(
            savable(state.tensors()),
            {"format": FORMAT, "identity": to_json(self.identity), "progress": to_json(state.progress.model_dump())},
        )
        self._saved_at = time.monotonic()
        self._writing = self._thread.submit(self._write, data, self._place(state))
        state.saved = self.last

    def _write(self, data: bytes, place: str) -> None:
        self.blobs.put(BLOB, data)
        self._last = place

    def last(self) -> str:
        """Where the last checkpoint is that was written to its end, and of which moment; empty where there is none."""
        self.finish()
        return self._last

    def finish(self) -> None:
        """Wait until what was saved last is written, or say why it could not be."""
        if self._writing is not None:
            try:
                self._writing.result()
            except (BadInput, OSError) as error:  # Whatever the disk says, as of a network's share that went away.
                log.warning("checkpoint not written: %s Training goes on without it.", error)
            self._writing = None


def pauses(checkpoints: Checkpoints | None, state: State, asked: Callable[[], bool]) -> Callable[[], None]:
    """What to do between two steps: save when it is time; on SIGTERM save and end with its exit code."""

    def pause() -> None:
        if checkpoints is None:
            return
        if asked():
            checkpoints.save(state)
            checkpoints.finish()
            log.info("terminated=SIGTERM epoch=%d batch=%d", state.progress.epoch, state.progress.batch)
            raise SystemExit(143)
        if checkpoints.due():
            checkpoints.save(state)

    return pause


def _read(data: bytes, where: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Identity and progress, and the tensors; BadInput where these bytes are no checkpoint of this version."""
    try:
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        found, header = metadata["format"], {name: json.loads(metadata[name]) for name in ("identity", "progress")}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{where} is damaged ({type(error).__name__}: {error}). Remove it to start anew.") from None
    if found != FORMAT:
        raise BadInput(f"{where} has format {found}, expected {FORMAT}. Remove it to start anew.")
    return header, tensors


def _differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not the same, as `seed 0 -> 1`."""
    found = []
    for part in sorted(then.keys() | now.keys()):
        was, is_ = then.get(part), now.get(part)
        if isinstance(was, dict) and isinstance(is_, dict):
            found += _differences(was, is_)
        elif was != is_:
            found.append(f"{part} {was} -> {is_}")
    return found
