"""`graft champion`: the model in service, what was before it, and taking it back."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import JsonOption, ModelNameOption, StoreOption, exit_codes
from pipelines.run_options import DEFAULT_STORE

app = typer.Typer(
    help="The model in service: show, history, rollback, pull.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def show(model_name: ModelNameOption = "model", store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """The champion, and how it came into service."""
    with exit_codes():
        from pipelines import champions, terminal

        found = champions.described(champions.records(store, model_name)[0])
        terminal.as_json(found) if json else terminal.fields(found)


@app.command()
def history(
    model_name: ModelNameOption = "model", store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Every champion there was, newest first. Promotions and rollbacks."""
    with exit_codes():
        from pipelines import champions, terminal

        found = [champions.described(record) for record in champions.records(store, model_name)]
        terminal.as_json(found) if json else terminal.champions(found)


@app.command()
def rollback(
    model_name: ModelNameOption = "model", store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Put the champion before this one back into service. What was taken out is not promoted again by itself."""
    with exit_codes():
        from pipelines import champions, terminal

        found = champions.described(champions.rollback(store, model_name))
        terminal.as_json(found) if json else terminal.fields(found)
        out = str(found["replaced"])[:12]
        print(
            f"graft: {out} is not promoted again by itself, but whatever else beats this champion is.", file=sys.stderr
        )
        print("Until what was wrong is mended, pause the schedule of its runs.", file=sys.stderr)


@app.command()
def pull(
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder to copy the model to: new, or empty.")],
    model_name: ModelNameOption = "model",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy the champion's model folder, with every file checked."""
    with exit_codes():
        from pipelines import champions

        record = champions.pull(store, model_name, to)
        print(f"{to}: {model_name} {record.digest}")
