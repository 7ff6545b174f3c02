"""`graft weights`: pretrained weights in a store, for machines and clusters without a network."""

import sys
from typing import Annotated

import typer

from pipelines.options import JsonOption, exit_codes
from pipelines.run_options import DEFAULT_STORE

app = typer.Typer(
    help="Pretrained weights in a store: fetch them once, list them.", no_args_is_help=True, rich_markup_mode=None
)
MIB = 1 << 20
AnyStoreOption = Annotated[str, typer.Option(metavar="STORE", help="Folder, file:// or s3:// URI.")]


@app.command()
def fetch(
    backbones: Annotated[
        list[str] | None, typer.Argument(metavar="BACKBONE", help="timm's names; those of the recipes by default.")
    ] = None,
    store: AnyStoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Copy weights from timm's hub to a store. With licence and sha256; `--weights store` finds them."""
    with exit_codes():
        from pipelines import terminal
        from pipelines.recipes import RECIPES
        from pipelines.weights import fetch as fetched

        of_recipes = [str(recipe.value("backbone")) for recipe in RECIPES if recipe.value("weights") == "hub"]
        found = []
        for backbone in backbones or of_recipes:
            record, new = fetched(backbone, store)
            found.append(record.model_dump(exclude={"format"}))
            size = f"{record.size_bytes / MIB:.1f} MiB, licence {record.license or 'unknown'}"
            if not json:
                print(f"{backbone}: {record.pretrained}, {size}{'' if new else '; was there already'}", flush=True)
        if json:
            terminal.as_json(found)


@app.command()
def ls(store: AnyStoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """The weights of a store. Which of timm's they are, licence, size, sha256."""
    with exit_codes():
        from pipelines import terminal
        from pipelines.store import existing_store
        from pipelines.weights import weights_in

        found = weights_in(existing_store(store).uri)
        if json:
            terminal.as_json(found)
            return
        if not found:
            print(f"no weights in {store}; graft weights fetch copies those of the recipes there", file=sys.stderr)
            return
        terminal.weights(found)
        for row in found:
            if not row["whole"]:
                print(
                    f"{row['backbone']} is not whole. Fetch it again: graft weights fetch {row['backbone']}",
                    file=sys.stderr,
                )
