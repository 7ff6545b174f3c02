"""Which model a name stands for."""

from pathlib import Path

from components.interchange.champion import current
from components.interchange.errors import BadInput
from pipelines.store import open_store


def model_folder(model: str, store: str) -> Path:
    """The folder of an onnx_model artifact: the one given, or the champion of `champion:NAME` in a store."""
    if not model.startswith("champion:"):
        return Path(model)
    name = model.removeprefix("champion:")
    champion = current(open_store(store).uri, name)
    if champion is None:
        raise BadInput(f"--model {model}: nothing was ever promoted under the name {name!r} in the store {store}.")
    return champion.fetch()
