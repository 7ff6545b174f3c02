"""`graft store`: what lies in a store, whether it is whole, and making room."""

import sys
from typing import Annotated, Any

import typer

from pipelines.options import JsonOption, StoreOption, exit_codes
from pipelines.run_options import DEFAULT_STORE

app = typer.Typer(
    help="What lies in a store, whether it is whole, and making room.", no_args_is_help=True, rich_markup_mode=None
)
MIB = 1 << 20


@app.command()
def ls(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Every artifact and published model, the newest first."""
    with exit_codes():
        from pipelines import upkeep
        from pipelines.store import existing_store

        found = [_row(item) for item in upkeep.items(existing_store(store))]
        if not found and not json:
            print(f"no artifacts in {store}", file=sys.stderr)
            return
        _told(found, json)


@app.command()
def verify(
    store: StoreOption = DEFAULT_STORE,
    forget: Annotated[bool, typer.Option("--forget", help="Let the next run make damaged artifacts again.")] = False,
    json: JsonOption = False,
) -> None:
    """Check the sha256 of every file. Exit code 2 if one is damaged."""
    with exit_codes():
        from components.interchange.errors import BadInput, on_one_line
        from pipelines import terminal, upkeep
        from pipelines.store import existing_store

        place = existing_store(store)
        found = upkeep.faults(place)
        artifacts = [name for name in found if name.startswith("artifacts/")]
        if forget:
            upkeep.forget(place, artifacts)
        if json:
            terminal.as_json(found)
        else:
            for name, words in found.items():
                print(on_one_line(f"{name}: {words}"))
        if found:
            num_models = len(found) - len(artifacts)
            after = f"{'The' if forget else 'With --forget the'} next run makes the artifacts again"
            raise BadInput(
                f"--store {store}: damaged: {len(artifacts)} artifacts, {num_models} published models. "
                f"{after}; from a damaged champion, roll back."
            )
        if not json:
            print("every artifact and every published model is whole")


@app.command()
def gc(
    store: StoreOption = DEFAULT_STORE,
    keep_runs: Annotated[int, typer.Option(metavar="N", min=1, help="Newest runs whose artifacts stay.")] = 10,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; without this, only list it.")] = False,
    json: JsonOption = False,
) -> None:
    """List, or remove, what neither a champion nor a recent run needs. Records of runs always stay."""
    with exit_codes():
        from pipelines import upkeep
        from pipelines.store import existing_store

        place = existing_store(store)
        found = upkeep.clear(place, keep_runs) if delete else upkeep.unneeded(place, keep_runs)
        if not found and not json:
            print("nothing to remove: champions or recent runs need all of it")
            return
        _told([_row(item) for item in found], json)
        if not json:
            mib = sum(item.size_bytes for item in found) / MIB
            done = "removed" if delete else "would be removed; --delete removes"
            print(f"{len(found)} of them, {mib:.1f} MiB: {done}")


def _row(item: Any) -> dict[str, Any]:
    return {
        "digest": item.digest,
        "what": item.what,
        "files": item.files,
        "size_mib": round(item.size_bytes / MIB, 3),
        "published": item.published.isoformat(timespec="seconds") if item.published else None,
    }


def _told(rows: list[dict[str, Any]], json: bool) -> None:
    from pipelines import terminal

    terminal.as_json(rows) if json else terminal.stored(rows)
