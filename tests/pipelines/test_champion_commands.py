"""`graft champion` from outside, over a store with two promoted models."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.interchange.artifact import digest
from pipelines.cli import app
from tests.permissions import permissions_hold
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

    code, out, err = graft("champion", "rollback", "--store", store, "--json")
    assert (code, json.loads(out)["digest"], json.loads(out)["by"]) == (0, digest(a), "rollback")
    assert f"{digest(b)[:12]} is not promoted again by itself, but" in err

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


def test_what_the_system_refuses_is_a_line(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    promoted(tmp_path, store, "a")
    (tmp_path / "a file").touch()
    (tmp_path / "closed").mkdir(mode=0o500)
    pull = ["champion", "pull", "--store", store, "--to"]
    code, _, err = graft(*pull, str(tmp_path / "a file" / "out"))
    assert code == 2 and "its folder cannot be made" in err
    with permissions_hold():
        code, _, err = graft(*pull, str(tmp_path / "closed" / "out"))
    assert code == 2
    assert f"graft: {tmp_path}/closed/" in err and "Permission denied. Whoever runs this must be allowed" in err
    assert graft("predict", "x.png", "--model", "s3://bucket/model")[::2] == (
        2,
        "graft: --model s3://bucket/model: expected a folder on a disk, or champion:NAME with the --store that it is "
        "in.\n",
    )
