"""Progress where there is no terminal."""

import time

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
