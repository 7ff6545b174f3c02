"""One thing that was looked at: what was found, whether that will do, and what to change where it will not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from components.interchange.errors import BadInput

State = Literal["ok", "warn", "fail"]
FORMAT = "graft.doctor/1"


@dataclass(frozen=True)
class Check:
    """`remedy` says where to change it; empty where all is well."""

    name: str
    state: State
    found: str
    remedy: str = ""


def checked(name: str, look: Callable[[], str], remedy: str) -> Check:
    """`ok` with what `look` returns, or `fail` with what it refuses, or with what the system does."""
    try:
        return Check(name, "ok", look())
    except (BadInput, OSError) as error:
        return Check(name, "fail", str(error), remedy)
