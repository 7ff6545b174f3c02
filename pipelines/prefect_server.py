"""A Prefect API server of our own for the length of one run: no server to start by hand, none left behind.

Prefect's built-in temporary server shares our process group, so that Ctrl-C kills it first and the client then waits
for it; and it outlives a run that is killed. This one has a session of its own and dies with us. The names
`PREFECT__SERVER_*` are private to Prefect: its version is pinned.

It asks for a password: whoever may talk to it can start runs, as us and on any source, and a server of Prefect takes
orders from every user of the machine and every web page that is open on it.

Prefect takes settings, and by those of its logging code to run, from `prefect.toml`, `pyproject.toml` and `.env` of the
current folder and from its home. The former may be a checkout of somebody's images, the latter lies in a store that
others may write to: so Prefect starts in `NOBODYS`, and reads neither profiles nor a logging file in a home of ours.
"""

import contextlib
import os
import secrets
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

from components.interchange.errors import BadInput
from pipelines.runner import die_with_parent

START_S = 180.0  # 7 s on an idle laptop; a machine may be busy.
ANSWERS_S = 5.0  # A server that somebody else started.
DRAIN_S = 1.0
STOP_S = 2.0
NOBODYS = "/"
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}
APP = ["uvicorn", "--factory", "prefect.server.api.server:create_app", "--log-level", "error", "--lifespan", "on"]
PASSWORD = "password"  # A file in the server's folder, for who opens the UI of a lasting one.
SERVER = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


@contextmanager
def prefect_api(home: Path, drain: Callable[[], None], lasting: bool = False) -> Iterator[Callable[[], None]]:
    """Start a server and yield a function that waits until it answers; import prefect in between.

    With PREFECT_API_URL set nothing is started: the run is recorded by the server it names; BadInput where none answers
    there. `drain` is called before the server stops, to hand over what the client still holds. A `lasting` server also
    keeps schedules and has the UI.
    """
    os.environ.update(QUIET)
    named = os.environ.get("PREFECT_API_URL")
    if named:
        fault = fault_of(named)
        if fault:
            raise BadInput(f"{fault} Start that server, or unset PREFECT_API_URL; a run may also go --engine none.")
        yield lambda: None
        return
    os.environ.pop("PREFECT_API_URL", None)
    past_proxies("127.0.0.1")
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = f"graft:{secrets.token_urlsafe()}"
    os.environ |= {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_PROFILES_PATH": os.devnull,
        "PREFECT_LOGGING_CONFIG_PATH": _own_logging(),
    }
    own = {"PREFECT_SERVER_API_AUTH_STRING": password, **(_with_ui(port) if lasting else SERVER)}
    if lasting:
        _for_us_alone(home / PASSWORD, f"{password}\n")
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", *APP, "--host", "127.0.0.1", "--port", str(port)],
            cwd=NOBODYS,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            yield lambda: wait(server, port, home / "server.log")
            drain()
            time.sleep(DRAIN_S)  # Without it the last task runs are missing from the history.
        except BaseException:
            with contextlib.suppress(Exception):
                drain()
            raise
        finally:
            server.terminate()
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            os.environ.pop("PREFECT_API_URL", None)
            os.environ.pop("PREFECT_API_AUTH_STRING", None)


def past_proxies(host: str) -> None:
    """Have clients of this process, and of those that it starts, ask a host itself where HTTP_PROXY names a proxy."""
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    if given != "*":
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{given},{host}" if given else host


def _own_logging() -> str:
    """The file that comes with Prefect, which is not imported for it."""
    found = find_spec("prefect")
    assert found is not None and found.origin is not None, "whoever comes here has looked whether it is installed"
    return str(Path(found.origin).with_name("logging") / "logging.yml")


def _for_us_alone(path: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def fault_of(address: str) -> str:
    """Why nobody answers at the address of a Prefect API; empty where somebody does, if only to ask who we are."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=ANSWERS_S) as answer:
            answer.read()
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLError):  # Prefect has settings of its own for it.
            return ""
        return f"PREFECT_API_URL {address} does not answer ({getattr(error, 'reason', error)})."
    return ""


def _with_ui(port: int) -> dict[str, str]:
    """The UI asks the server at its default port unless it is told."""
    return {"PREFECT_UI_ENABLED": "1", "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api"}


def wait(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Return when the server answers; BadInput when it has died or takes too long."""
    until, why = time.monotonic() + START_S, ""
    while not why or time.monotonic() < until:
        if server.poll() is not None:
            why = f"ended with code {server.returncode}"
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2):
                return
        except (urllib.error.URLError, OSError) as error:
            why = f"at 127.0.0.1:{port} did not answer within {START_S:g} s ({getattr(error, 'reason', error)})"
            time.sleep(0.1)
    raise BadInput(f"Prefect's server {why}; its words are in {log}. A run may also go --engine none.")
