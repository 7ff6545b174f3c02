"""`graft status`: how far a run is."""

from typing import Annotated

import typer

from pipelines.options import JsonOption, StoreOption, exit_codes
from pipelines.run_options import DEFAULT_STORE


def status(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Id of the run; the newest if not given.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """How far a run is: steps, rates, time left. Here or on a cluster."""
    with exit_codes():
        from pipelines import terminal
        from pipelines.status import lines
        from pipelines.status import status as found
        from pipelines.store import existing_store

        known = found(existing_store(store), run)
        terminal.as_json(known) if json else print("\n".join(lines(known)))
