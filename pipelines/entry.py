"""Entry point of the console script `graft`: Ctrl-C ends it in words even while the command is being imported."""

import io
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command."""
    _nowhere_instead_of_closed()
    _escaped_where_the_terminal_has_no_bytes()
    _home_for_nobody()
    try:
        from pipelines import cli
    except KeyboardInterrupt:
        print("graft: interrupted before anything was begun", file=sys.stderr)
        sys.exit(130)
    cli.main()


def _nowhere_instead_of_closed() -> None:
    """Give standard streams that are closed (`graft … >&-`) to /dev/null, or the next file opened would be one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # The lowest number that is free: this one.
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8"))


def _escaped_where_the_terminal_has_no_bytes() -> None:
    """Standard output escapes characters that its encoding lacks, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _home_for_nobody() -> None:
    """A user without HOME whom the system does not list, as one of `docker run --user 12345`, lives at / as there.

    Prefect, as others, ends in a traceback without a home.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"
