"""Progress: bars on a terminal, lines in a log."""

import os
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from components.interchange import progress as module
from components.interchange.progress import progress


def test_a_log_gets_whole_lines_and_none_of_short_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(progress(range(3), "short")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    for _ in progress(range(5), "epoch 1", unit=" batches"):
        time.sleep(0.02)
    told = capsys.readouterr().err
    assert "\r" not in told and told.endswith("\n")  # What a pod's log shows only once the line has ended.
    lines = told.splitlines()
    assert len(lines) >= 2 and all(line.startswith("epoch 1:") and "/5 [" in line for line in lines)


def test_on_a_terminal_lines_stand_above_the_bars_and_no_bar_is_left_open(tiny_source: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    words = ["--source", tiny_source, "--dataset", tmp_path / "dataset", "--report", tmp_path / "report"]
    with subprocess.Popen([sys.executable, "-m", "components.ingest", *words], stderr=theirs) as step:
        os.close(theirs)
        told = b"".join(iter(lambda: read(ours), b""))
    assert step.returncode == 0 and b"ingest: writing train:" in told
    assert b"\x1b[A" not in told  # The cursor goes up to a bar that was not closed.
    lines = [line.rpartition(b"\r")[2] for line in told.replace(b"\r\n", b"\n").splitlines()]
    assert b"images=90 classes=3 quarantined=0 encoding=raw" in lines  # And nothing of a bar behind it.


def read(terminal: int) -> bytes:
    """What comes next; nothing at the end, which Linux tells by an error."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""
