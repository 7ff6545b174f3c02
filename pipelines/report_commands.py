"""`graft report`: the page of a run."""

from typing import Annotated

import typer

from pipelines.options import StoreOption, exit_codes
from pipelines.run_options import DEFAULT_STORE


def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id of a run (`graft runs` lists them), or latest.")
    ] = "latest",
    store: StoreOption = DEFAULT_STORE,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """The path of a run's page. Data, training, evaluation, export, latency and the verdict stand on it."""
    with exit_codes():
        from components.interchange.errors import BadInput
        from components.interchange.s3_objects import SCHEME
        from pipelines.run_records import page_of
        from pipelines.store import existing_store

        path = page_of(existing_store(store), run)
        print(path)
        if open_it and path.startswith(SCHEME):
            raise BadInput("--open: a browser shows pages on a disk only; copy this one there first.")
        if open_it and typer.launch(path) != 0:
            raise BadInput("--open: no browser could be started here.")
