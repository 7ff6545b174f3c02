"""`graft serve` with a minute's cron and a growing source, killed and started again in the middle.

`python -m tests.schedule_proof FOLDER [MINUTES]`: everything that happened is in FOLDER/serve.log.
"""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import TINY_BACKBONE, write_source

MORE = 6  # Images a class that the source grows by.


def arguments(folder: Path) -> list[str]:
    """The command: the whole pipeline on small images with a tiny backbone."""
    sets = ["ingest.stored-size-px=40", "latency.timed-runs=200", "latency.throughput-s=0.1"]
    for step in ("feature_extraction", "finetune"):
        sets += [f"{step}.weights={folder / 'tiny.safetensors'}", f"{step}.input-size-px=32"]
    words = ["serve", "--cron", "* * * * *", "--source", str(folder / "source"), "--store", str(folder / "store")]
    words += ["--backbone", TINY_BACKBONE, "--model-name", "tiny"]
    return [sys.executable, "-m", "pipelines.cli", *words, *(word for value in sets for word in ("--set", value))]


def grow(source: Path, number: int) -> None:
    """New images of every class, as if someone had put them there."""
    more = write_source(source.with_name(f"more {number}"), MORE, seed=100 + number)
    for path in sorted(more.rglob("*.*")):
        shutil.copy(path, source / path.parent.name / f"{number} {path.name}")


def main(folder: Path, minutes: float) -> None:
    """A tenth of the time between events: grow, grow and kill while the run is under way, start again, grow."""
    import timm
    import torch
    from safetensors.torch import save_file

    write_source(folder / "source", 30)
    torch.manual_seed(0)
    save_file(timm.create_model(TINY_BACKBONE, num_classes=10).state_dict(), folder / "tiny.safetensors")
    tenth_s = minutes * 6
    with (folder / "serve.log").open("a") as log:

        def say(words: str) -> None:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} -- {words}\n")
            log.flush()

        def served() -> "subprocess.Popen[bytes]":
            say("graft serve starts")
            return subprocess.Popen(arguments(folder), stdout=log, stderr=log)

        serving = served()
        for number in range(1, 10):
            time.sleep(tenth_s)
            if number == 5:
                serving.kill()
                serving.wait()
                say("SIGKILL of graft serve")
            elif number == 6:
                serving = served()
            elif number % 2 == 0 or number == 7:
                grow(folder / "source", number)
                say("the source grew")
        time.sleep(tenth_s)
        serving.send_signal(signal.SIGTERM)
        serving.wait(60)
        say("the end")


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True)
    main(Path(sys.argv[1]).absolute(), float(sys.argv[2]) if len(sys.argv) > 2 else 60)
