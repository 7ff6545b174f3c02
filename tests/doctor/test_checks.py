"""The checks of a store and of a pod: each finds what is wrong, and says what to change."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.doctor import store
from components.doctor.check import Check
from components.doctor.pod import gpu_check, shared_memory_check, write_check
from components.doctor.spec import Doctor
from components.doctor.store import store_checks
from components.interchange.blobs import open_blobs
from components.interchange.cli import main


def states(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.state for check in checks}


def test_a_good_bucket_passes_and_keeps_nothing(s3_store: str) -> None:
    checks = store_checks(s3_store)
    assert states(checks) == dict.fromkeys(["store", "conditional writes", "multipart", "clock"], "ok"), checks
    assert "credentials from env" in checks[0].found
    assert open_blobs(s3_store).list() == []


def test_a_folder_has_no_parts_and_no_clock(tmp_path: Path) -> None:
    assert states(store_checks(str(tmp_path / "store"))) == {"store": "ok", "conditional writes": "ok"}


def test_a_folder_is_left_as_it_was_found(tmp_path: Path) -> None:
    store_checks(str(tmp_path / "new" / "store"))
    assert not list(tmp_path.iterdir())
    (tmp_path / "store").mkdir()
    store_checks(str(tmp_path / "store"))
    assert (tmp_path / "store").is_dir()


@pytest.mark.parametrize("wrong", ["s3://no-such-bucket/store", "s3:/graft", "file://"])
def test_a_store_that_cannot_be_reached_says_where_to_look(wrong: str, s3_store: str) -> None:
    (check,) = store_checks(wrong)
    assert (check.name, check.state) == ("store", "fail") and "--store" in check.remedy + check.found


def test_a_folder_that_the_system_will_not_make_is_told() -> None:
    """An error number that the store has no words for: `/proc` says that the folder is not there."""
    (check,) = store_checks("/proc/store")
    assert (check.name, check.state) == ("store", "fail") and "/proc/store" in check.found and "--store" in check.remedy


def test_wrong_credentials_are_told(s3_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    (check,) = store_checks(s3_store)
    assert check.state == "fail" and "credentials" in check.found


@pytest.mark.parametrize(("off_s", "state"), [(2, "ok"), (-120, "warn"), (3600, "fail")])
def test_a_clock_that_is_off_is_told(off_s: int, state: str) -> None:
    check = store._clock(lambda: datetime.now(UTC) - timedelta(seconds=off_s))
    assert check.state == state and f"{off_s:+d} s" in check.found
    assert bool(check.remedy) == (state != "ok")


def test_a_gpu_that_is_not_there_fails() -> None:
    check = gpu_check(99)
    assert check.state == "fail" and "expected 99" in check.found and "device plugin" in check.remedy


def test_shared_memory_is_measured(tmp_path: Path) -> None:
    assert shared_memory_check(1, tmp_path).state == "ok"
    assert shared_memory_check(1 << 20, tmp_path).state == "fail"
    assert "shm-gib" in shared_memory_check(1, tmp_path / "nowhere").remedy


def test_a_place_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert write_check().state == "fail"


def test_the_command_writes_what_it_found_and_ends_with_2_where_something_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--store", str(tmp_path), "--run-id", "r1"]
    assert main(Doctor, words) == 0
    assert main(Doctor, [*words[:3], "r2", "--gpus", "99"]) == 2
    assert "gpu" in capsys.readouterr().err
    found = {run: json.loads((tmp_path / "doctor" / f"{run}.json").read_text())["checks"] for run in ("r1", "r2")}
    assert {one["name"] for one in found["r1"]} == {"user", "write access", "store", "conditional writes"}
    assert [one["name"] for one in found["r2"] if one["state"] == "fail"] == ["gpu"]
