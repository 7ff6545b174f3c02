"""`graft serve` with a minute's cron and a growing source, killed and started again in the middle.

`python -m tests.schedule_proof FOLDER [MINUTES]`: everything that happened is in FOLDER/serve.log.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import CLASSES, COLOURS, TINY_BACKBONE

FIRST, MORE, NEW = 40, 6, 60  # Images a class: at first, more of the same, and ones such as no model has seen.
GROWTH = {1: MORE, 3: NEW, 5: MORE, 7: NEW, 8: MORE}  # By tenth of the time; in the fifth a kill as well.
LOOKS = {  # The colours of CLASSES: at first, and after each growth by NEW.
    0: [COLOURS[label] for label in CLASSES],
    3: [(230, 200, 40), (200, 40, 200), (40, 200, 200)],
    7: [(245, 245, 245), (25, 25, 25), (128, 128, 128)],
}
KILLED, AGAIN = 5, 6
UNDER_WAY_S = 180.0


def arguments(folder: Path) -> list[str]:
    """The command: the whole pipeline on small images with a tiny backbone."""
    sets = ["ingest.stored-size-px=40", "latency.timed-runs=200", "latency.throughput-s=0.1"]
    for step in ("feature_extraction", "finetune"):
        sets += [f"{step}.weights={folder / 'tiny.safetensors'}", f"{step}.input-size-px=32"]
    words = ["serve", "--cron", "* * * * *", "--source", str(folder / "source"), "--store", str(folder / "store")]
    words += ["--backbone", TINY_BACKBONE, "--model-name", "tiny"]
    return [sys.executable, "-m", "pipelines.cli", *words, *(word for value in sets for word in ("--set", value))]


def grow(source: Path, images_per_class: int, number: int) -> None:
    """New images of every class, of the looks that came last."""
    rng = np.random.default_rng(number)
    looks = LOOKS[max(first for first in LOOKS if first <= number)]
    for label, colour in zip(CLASSES, looks, strict=True):
        (source / label).mkdir(parents=True, exist_ok=True)
        for image in range(images_per_class):
            pixels = np.clip(np.array(colour) + rng.normal(0, 25, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(source / label / f"{number} {image:03d}.png")


def main(folder: Path, minutes: float) -> None:
    """A tenth of the time between events: GROWTH, a kill while the run that it made is at work, the start again."""
    import timm
    import torch
    from safetensors.torch import save_file

    grow(folder / "source", FIRST, 0)
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
        started = time.monotonic()
        for number in range(1, 11):
            time.sleep(max(0.0, started + number * tenth_s - time.monotonic()))
            if number in GROWTH:
                grow(folder / "source", GROWTH[number], number)
                say(f"the source grew by {3 * GROWTH[number]} images")
            if number == KILLED:
                _until_at_work(folder / "serve.log")
                serving.kill()
                serving.wait()
                say("SIGKILL of graft serve")
            elif number == AGAIN:
                serving = served()
        serving.send_signal(signal.SIGTERM)
        serving.wait(60)
        say("the end")


def _until_at_work(log: Path) -> None:
    """Wait for the run that follows the last growth to be in its second step."""
    end = time.monotonic() + UNDER_WAY_S
    while "\ningest " not in log.read_text().rpartition("the source grew")[2]:
        if time.monotonic() > end:
            raise TimeoutError(f"no run in {UNDER_WAY_S:.0f} s; {log} tells")
        time.sleep(0.5)
    time.sleep(3)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True)
    main(Path(sys.argv[1]).absolute(), float(sys.argv[2]) if len(sys.argv) > 2 else 60)
