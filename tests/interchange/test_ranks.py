"""Processes that torchrun starts for one step: what they say, and what they leave in the store."""

import json
from pathlib import Path

import pytest

from components.interchange.cli import main
from components.record.spec import Record


def as_rank(monkeypatch: pytest.MonkeyPatch, attempt: Path, rank: int) -> Path:
    """The environment that torchrun gives a process; where it expects the process's error."""
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(attempt / str(rank) / "error.json"))
    return attempt / str(rank) / "error.json"


def test_a_fault_of_all_is_said_once_and_one_of_another_process_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in (1, 0, 2):
        error_file = as_rank(monkeypatch, tmp_path, rank)
        words = ["--status", "{}", *(["--run-id", "r1"] if rank < 2 else ["--no-such-flag", "1"])]
        assert main(Record, words) == 2
        said = json.loads(error_file.read_text())["message"]  # In torchrun's own words at the end.
        assert said["message"].startswith("record: ") and int(said["extraInfo"]["timestamp"]) > 0
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "give --store" in told[0] and "--no-such-flag" in told[1]


def test_the_first_process_alone_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, found in ((1, False), (0, True)):
        as_rank(monkeypatch, tmp_path / "attempt", rank)
        assert main(Record, ["--status", "{}", "--run-id", "r1", "--store", str(tmp_path / "store")]) == 0
        assert (tmp_path / "store" / "runs" / "r1" / "heartbeats" / "record.json").exists() == found
