"""`graft champion` from outside, over a store with two promoted models."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.interchange.artifact import digest
from pipelines.cli import app
from tests.promote.test_rollback import promoted


def graft(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout, done.stderr


def test_show_history_rollback_and_pull(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    a, b = promoted(tmp_path, store, "ab")

    code, out, _ = graft("champion", "show", "--store", store)
    assert code == 0
    assert dict(line.split(maxsplit=1) for line in out.splitlines())["digest"] == digest(b)

    code, out, _ = graft("champion", "rollback", "--store", store, "--json")
    assert (code, json.loads(out)["digest"], json.loads(out)["by"]) == (0, digest(a), "rollback")

    code, out, _ = graft("champion", "history", "--store", store)
    head, *lines = [line.split() for line in out.splitlines()]
    assert head == ["when_utc", "by", "digest", "top1", "p99_ms", "run"]
    assert [line[2:4] for line in lines] == [
        ["rollback", digest(a)[:12]],
        ["promotion", digest(b)[:12]],
        ["promotion", digest(a)[:12]],
    ]
    assert lines[1][4:] == ["0.9300", "7.50", "run", "b"]
    assert max(map(len, out.splitlines())) <= 80

    code, out, _ = graft("champion", "pull", "--store", store, "--to", str(tmp_path / "out"))
    assert (code, digest(tmp_path / "out")) == (0, digest(a))
    assert digest(a) in out


@pytest.mark.parametrize("command", ["show", "history", "rollback"])
def test_without_a_champion_every_command_says_so(tmp_path: Path, command: str) -> None:
    code, _, err = graft("champion", command, "--store", str(tmp_path))
    assert code == 2
    assert "nothing was ever promoted under the name 'model'" in err
    code, _, err = graft("champion", command, "--store", str(tmp_path / "none"))
    assert code == 2
    assert f"--store {tmp_path}/none: there is no such folder." in err
    assert not (tmp_path / "none").exists()
