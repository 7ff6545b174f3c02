"""Entry point of the console script `graft`: Ctrl-C ends it in words even while the command is being imported."""

import sys


def main() -> None:
    """Run the command."""
    try:
        from pipelines import cli
    except KeyboardInterrupt:
        print("graft: interrupted before anything was begun", file=sys.stderr)
        sys.exit(130)
    cli.main()
