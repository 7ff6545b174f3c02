"""`graft serve`: the same run again and again, as a cron expression says."""

import dataclasses
import os
import sys
from typing import Annotated

import typer

from pipelines.options import exit_codes
from pipelines.run_options import NOTIFY, RunOptions


def serve(
    context: typer.Context,
    cron: Annotated[str, typer.Option(metavar="CRON", help="When: five fields, like '0 2 * * 1-5'.")],
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Of the fields.")] = "UTC",
) -> None:
    """Retrain on a schedule. One run at a time, missed ones not made up for.

    It takes every option of `graft run` but --require and --json.
    """
    with exit_codes():
        options = _asked(context)
        if options.notify:
            os.environ[NOTIFY] = options.notify  # Not into Prefect's records: it may hold a token.
        from pipelines.schedule import serve as served

        served(dataclasses.replace(options, notify=None), cron, timezone)


def _asked(context: typer.Context) -> RunOptions:
    """What the other arguments mean to `graft run`, whose parser reads them."""
    assert context.parent is not None
    run = context.parent.command.commands["run"]  # type: ignore[attr-defined]
    given = run.make_context("serve", list(context.args), parent=context.parent).params
    if given["require"] or given["json"]:
        print("graft: serve goes on after every verdict: --require and --json are of no use here", file=sys.stderr)
        raise typer.Exit(2)
    return RunOptions.of(given)
