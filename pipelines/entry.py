"""Entry point of the console script `graft`: Ctrl-C ends it in words even while the command is being imported."""

import os
import sys


def main() -> None:
    """Run the command."""
    _nowhere_instead_of_closed()
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
