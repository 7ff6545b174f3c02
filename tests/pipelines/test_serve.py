"""`graft serve` and `--notify`: what is refused before anything starts, and who is told what a run came to."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.interchange.errors import BadInput
from pipelines import notify as hook
from pipelines import session
from pipelines.cli import app
from pipelines.cron import next_time
from pipelines.lock import only_schedule
from pipelines.notify import notify
from pipelines.schedule import ctrl_c_held_back

SUMMARY = {"run_id": "r1", "verdict": "keep"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cron", "* * * *", "--source", "."], "4 fields; expected five fields (minute hour"),
        (["--cron", "0 0 2 * * *", "--source", "."], "6 fields"),
        (["--cron", "61 * * * *", "--source", "."], "expected five fields"),
        (["--cron", "0 0 31 2 *", "--source", "."], "Bad day-of-month"),
        (["--cron", "* * * * *", "--timezone", "Mars/Base", "--source", "."], "no such time zone"),
        (["--cron", "* * * * *", "--source", ".", "--set", "gate.nonsense=1"], "unknown parameter"),
        (["--cron", "* * * * *", "--source", ".", "--sorce", "x"], "--sorce"),
        (["--cron", "* * * * *", "--source", ".", "--require", "promote"], "of no use here"),
        (["--cron", "* * * * *"], "--source"),
        (["--cron", "* * * * *", "--source", "nowhere"], "--source nowhere: there is no such folder or file"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["serve", *arguments])
    assert done.exit_code == 2
    assert words in done.stderr


def test_usual_expressions_pass() -> None:
    for cron in ("0 2 * * *", "*/5 * * * *", "30 4 1,15 * 5", "0 22 * * 1-5", "0 0 * * 7", "@daily"):
        if cron == "@daily":
            with pytest.raises(BadInput):
                next_time(cron, "UTC")
        else:
            next_time(cron, "Europe/Berlin")


def test_a_model_name_has_one_schedule(tmp_path: Path) -> None:
    with only_schedule(tmp_path, "a"), only_schedule(tmp_path, "b"):
        refusal = pytest.raises(BadInput, match="a schedule of model 'a' is served")
        with refusal, only_schedule(tmp_path, "a"):
            raise AssertionError("two schedules at once")
    with only_schedule(tmp_path, "a"):
        pass


def test_ctrl_c_ends_this_process_and_waits_for_those_that_it_started() -> None:
    spawn = multiprocessing.get_context("spawn")  # As Prefect starts a run's process.
    child = spawn.Process(target=signal.raise_signal, args=(signal.SIGINT,))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs ignore it.
    try:
        with pytest.raises(KeyboardInterrupt), ctrl_c_held_back():
            child.start()
            child.join()
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert child.exitcode == 0
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@contextmanager
def address(answers: list[int]) -> Iterator[tuple[str, list[bytes]]]:
    """An address that gives these answers one after the other, and what it was sent."""
    told: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answers.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token", told
        server.shutdown()
        thread.join()


def test_an_address_is_told_and_asked_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(hook, "WAITS_S", (0.0, 0.0))
    with address([503, 200]) as (url, told):
        assert notify(url, SUMMARY)
    assert [json.loads(one) for one in told] == [SUMMARY, SUMMARY]
    with address([500, 500, 500]) as (url, told):
        assert not notify(url, SUMMARY)
    assert len(told) == 3
    assert "answered 500, 3 times" in caplog.text and "token" not in caplog.text


def test_what_is_no_address_and_an_answer_that_is_no_http_end_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """http.client's errors are neither OSError nor ValueError, and quote what they were given."""
    monkeypatch.setattr(hook, "WAITS_S", ())
    assert not notify("http://me:hunter2@localhost/hook", SUMMARY)
    assert not notify("http://localhost/a hook?token=hunter2", SUMMARY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_answer_nonsense, args=(server,))
        answering.start()
        assert not notify(f"http://127.0.0.1:{server.getsockname()[1]}/hunter2", SUMMARY)
        answering.join()
    assert "InvalidURL" in caplog.text and "BadStatusLine" in caplog.text and "hunter2" not in caplog.text


def _answer_nonsense(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(b"nonsense\r\n\r\n")


def test_a_command_is_told_on_its_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hook, "WAITS_S", (0.0,))
    assert notify(f"tee '{tmp_path}/told it.json'", SUMMARY)
    assert json.loads((tmp_path / "told it.json").read_text()) == SUMMARY
    assert not notify(f"{sys.executable} -c 'raise SystemExit(7)'", SUMMARY)
    assert not notify("no-such-command --password hunter2", SUMMARY)
    assert not notify("", SUMMARY)
    monkeypatch.setattr(hook, "TIMEOUT_S", 0.2)
    assert not notify("sleep 5", SUMMARY)
    assert "ended with 7" in caplog.text and "took more than" in caplog.text and "hunter2" not in caplog.text


def test_a_run_that_fails_is_told_too_and_ends_as_ever(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    words = ["run", "--source", str(tmp_path / "nowhere"), "--store", str(tmp_path / "store")]
    done = CliRunner().invoke(app, [*words, "--notify", f"tee {told}"])
    assert done.exit_code == 2
    summary = json.loads(told.read_text())
    assert summary["verdict"] == "failed" and "there is no such folder" in summary["reasons"][0]


def test_a_run_that_crashes_is_told_too_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("nobody foresaw it")

    monkeypatch.setattr(session, "plan", crash)
    words = ["run", "--source", str(tmp_path), "--store", str(tmp_path / "store")]
    done = CliRunner().invoke(app, [*words, "--notify", f"tee {tmp_path / 'told.json'}"])
    assert isinstance(done.exception, RuntimeError)
    (recorded,) = (tmp_path / "store" / "runs").glob("*/summary.json")
    for place in (tmp_path / "told.json", recorded):
        summary = json.loads(place.read_text())
        assert summary["verdict"] == "failed" and summary["reasons"][0] == "RuntimeError: nobody foresaw it"


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_is_recorded_and_told_unless_by_hand(
    by: signal.Signals, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        os.kill(os.getpid(), by)
        time.sleep(10)

    monkeypatch.setattr(session, "plan", ended)
    told = tmp_path / "told.json"
    words = ["run", "--source", str(tmp_path), "--store", str(tmp_path / "store")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs ignore it.
    try:
        done = CliRunner().invoke(app, [*words, "--notify", f"tee {told}"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.exit_code == code
    assert "the same command goes on after the last step that was done" in done.stderr
    (recorded,) = (tmp_path / "store" / "runs").glob("*/summary.json")
    told_of = [json.loads(place.read_text()) for place in (recorded, told) if place.exists()]
    assert len(told_of) == (2 if by is signal.SIGTERM else 1)
    for summary in told_of:
        assert summary["verdict"] == "interrupted" and "the same command goes on" in summary["reasons"][0]
