"""`graft doctor` on this machine."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from components.interchange.errors import BadInput
from pipelines import doctor_machine
from pipelines.cli import app
from pipelines.lock import no_run
from tests.permissions import permissions_hold


def graft(*words: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *(str(word) for word in words)])


def test_this_machine_is_fit_for_a_run(tmp_path: Path) -> None:
    done = graft("--store", tmp_path / "store", "--json")
    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert checks["python"]["state"] == "ok" and "torch 2" in checks["packages: train"]["found"]
    assert "cores" in checks["processor"]["found"] and "GiB" in checks["memory"]["found"]
    assert done.exit_code == (2 if "fail" in {one["state"] for one in checks.values()} else 0)
    assert not list(tmp_path.iterdir())


def test_what_fails_is_told_with_its_remedy_and_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    done = graft("--store", "s3:/wrong", "--runner", "docker")
    assert done.exit_code == 2
    told = done.stdout
    for word in ("there is no command docker", "let your user reach it", "Check --store", "unset PREFECT_API_URL"):
        assert word in told, told
    assert told.count("\nfail") == 3
    assert "disk              store" not in told and "s3:/wrong/" not in told


def test_a_package_older_than_graft_asks_for_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.fingerprints._version", lambda name: None if name == "rich" else "0.27.1")
    checks = {check.name: check for check in doctor_machine.package_checks()}
    run = checks["packages: run"]
    assert run.found == "typer 0.27.1 (expected >=0.28), rich is missing, jinja2 0.27.1"
    assert (run.state, run.remedy) == ("warn", "Install graft[run] anew.")
    assert checks["packages: ingest"].state == "ok"


def test_little_room_is_a_warning_and_none_a_failure() -> None:
    states = [doctor_machine._enough("disk", free, 1, 10, "found", "Make room.").state for free in (20, 5, 0.5)]
    assert states == ["ok", "warn", "fail"]


def test_a_place_that_cannot_be_written_to_fails_and_is_named_by_its_setting(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with permissions_hold():
        (check,) = doctor_machine.disk_checks({"copies of artifacts": tmp_path / "graft"})
        with pytest.raises(BadInput, match="GRAFT_CACHE"), no_run(tmp_path / "graft", "a test"):
            pass
    tmp_path.chmod(0o700)
    assert check.state == "fail" and "cannot be written to" in check.found and "GRAFT_CACHE" in check.remedy


def test_an_engine_that_does_not_answer_is_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "docker"
    script.write_text("#!/bin/sh\necho 'Cannot connect. Is the daemon running?' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    check = doctor_machine.docker_check("graft-", None)
    assert check.found == "docker is not to be had: Cannot connect. Is the daemon running?"
    assert check.remedy.startswith("Install an engine, start it")


def test_an_image_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A docker of one script: what counts is what is asked of it and made of its answer."""
    script = tmp_path / "docker"
    script.write_text("#!/bin/sh\necho graft-train:1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert doctor_machine.docker_check("graft-", None).state == "ok"
    check = doctor_machine.docker_check("graft-", "1")
    assert check.state == "fail" and "graft-ingest:1" in check.found and "graft-train:1" not in check.found
    assert "make images" in check.remedy
