"""`graft conformance`: does whoever serves the model answer as it does?"""

import sys
from typing import Annotated

import typer

from pipelines.options import JsonOption, StoreOption, exit_codes
from pipelines.run_options import DEFAULT_STORE

DEPARTS = 3


def conformance(
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Folder with model.onnx, card.json and golden/, or champion:NAME.")
    ],
    client: Annotated[
        str, typer.Option(metavar="COMMAND", help="Gets image paths, prints a JSON object a line and image.")
    ],
    store: StoreOption = DEFAULT_STORE,
    timeout_s: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Seconds that the client may take for all images.")
    ] = 600,
    json: JsonOption = False,
) -> None:
    """Where a serving client departs from the model's contract. Fed the golden images; exit code 3 if it does."""
    with exit_codes():
        from components.interchange.errors import on_one_line
        from pipelines.champions import model_folder
        from pipelines.conformance import check
        from pipelines.terminal import as_json

        found = check(model_folder(model, store), client, timeout_s)
        print(on_one_line(found.words()), file=sys.stderr if json else sys.stdout, flush=True)
        if json:
            names = ("conforms", "images", "flips", "distance", "slack", "decimals")
            departs = [{"subject": subject, "words": words} for subject, words in found.departs]
            as_json({**{name: getattr(found, name) for name in names}, "departs": departs})
    if not found.conforms:
        raise typer.Exit(DEPARTS)
