"""`graft predict`: classes with probabilities for images."""

from typing import Annotated

import typer

from pipelines.options import StoreOption, exit_codes
from pipelines.run_options import DEFAULT_STORE


def predict(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE", help="Image files, folders of them, or s3:// URIs of either.")
    ],
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Folder with model.onnx and card.json, or champion:NAME.")
    ],
    store: StoreOption = DEFAULT_STORE,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Images a forward pass.")] = 8,
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line and image, instead of a table.")] = False,
) -> None:
    """Classes with probabilities, from the ONNX model alone. Images that cannot be read: a line each, exit code 2."""
    with exit_codes():
        from pipelines.champions import model_folder
        from pipelines.predict import predict as predicted
        from pipelines.terminal import predictions

        unreadable = predictions(predicted(model_folder(model, store), images, batch_size), json)
    if unreadable:
        raise typer.Exit(2)
