"""Telling a command or a web address what a run came to. It never changes how the run ends."""

import json
import logging
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

TIMEOUT_S = 30.0
WAITS_S = (1.0, 4.0)
log = logging.getLogger("graft")


def notify(where: str, summary: dict[str, Any]) -> bool:
    """Hand a run's summary over as JSON: to a command's standard input, or by POST to an http(s) address.

    Tries three times. False, and a line in the log without the address (it may hold a token), where none went well.
    """
    data = (json.dumps(summary) + "\n").encode()
    is_address = where.startswith(("http://", "https://"))
    fault = ""
    for wait_s in (*WAITS_S, None):
        fault = _post(where, data) if is_address else _piped(where, data)
        if not fault:
            return True
        if wait_s is not None:
            time.sleep(wait_s)
    log.warning("graft: --notify: %s, %d times; the run itself is not touched by it", fault, len(WAITS_S) + 1)
    return False


def _post(url: str, data: bytes) -> str:
    try:
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"the address answered {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        return f"the address cannot be reached ({type(error).__name__})"


def _piped(command: str, data: bytes) -> str:
    try:
        done = subprocess.run(shlex.split(command), input=data, timeout=TIMEOUT_S, stdout=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"the command took more than {TIMEOUT_S:.0f} s"
    except (OSError, ValueError, IndexError) as error:
        return f"the command cannot be run ({type(error).__name__})"
    return "" if done.returncode == 0 else f"the command ended with {done.returncode}"
