"""`python -m MODULE WORDS` in a process that starts in a moment: forked from a server that has imported Graft already.

It has an exit code, output, environment and memory of its own, and none of the test's threads; what it saves are
seconds of importing torch, timm and the rest. An import that a program forgets would not show: one whole run of the
suite (`tests/e2e/test_s3_store.py`) starts `graft` as users do, those of `make test-faults` every step as well.
"""

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *(
            "pytest",
            "tests.warm",
            "pipelines.cli",
            "pipelines.session",
            "pipelines.terminal",
            "components.interchange.blobs_s3",
        ),
        *(f"components.{step}.run" for step in ("ingest", "feature_extraction", "finetune", "evaluate")),
        *(f"components.{step}.run" for step in ("export_onnx", "latency", "gate", "promote")),
    ]
)
TIMEOUT_S, NOWHERE = 300.0, Path(os.devnull)


Process = multiprocessing.process.BaseProcess


def run(module: str, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run a module as a program, in this folder and environment, and wait for it."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "stdout", Path(folder) / "stderr"
        child = start(module, *words, out=out, err=err)
        child.join(TIMEOUT_S)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise subprocess.TimeoutExpired(module, TIMEOUT_S, out.read_text(), err.read_text())
        return subprocess.CompletedProcess([module, *words], child.exitcode, out.read_text(), err.read_text())


def start(module: str, *words: object, out: Path = NOWHERE, err: Path = NOWHERE) -> Process:
    """The same without waiting; what it says goes to the files `out` and `err`."""
    told = [str(word) for word in words]
    child = SERVER.Process(target=_program, args=(module, told, Path.cwd(), dict(os.environ), out, err))
    child.start()
    return child


def _program(module: str, words: list[str], cwd: Path, env: dict[str, str], out: Path, err: Path) -> None:
    """What `python -m` does, in the child."""
    gc.freeze()  # What was imported before the fork stays: it need not be searched for garbage.
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [module, *words]
    sys.modules.pop(module, None)  # As if nobody had imported it; runpy would warn.
    runpy.run_module(module, run_name="__main__", alter_sys=True)
