"""Model files: weights inside, or beside the file where they are too many for one protobuf message (2 GiB)."""

from pathlib import Path

import onnx

from components.interchange.onnx_model import data_file

MOST_BYTES = 2**31 - 2**24  # Protobuf's limit, less what the graph itself takes.
SMALLEST_OUTSIDE = 1024  # Smaller tensors stay inside: shapes and axes, which the checker and onnxruntime want to see.


def _beside(path: Path) -> Path:
    return path.with_name(data_file(path.name))


def must_be_parted(model: onnx.ModelProto, most_bytes: int = MOST_BYTES) -> bool:
    """Whether the weights in the model's memory are too many for one file."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer) > most_bytes


def save(model: onnx.ModelProto, path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write the model; weights of more than `most_bytes` in all go to one file beside it, named `<file>.data`.

    The path of that file inside the model is relative to the model's own folder. Equal models give equal bytes. Empties
    the model's weights when they go outside.
    """
    if must_be_parted(model, most_bytes):
        onnx.external_data_helper.convert_model_to_external_data(
            model, all_tensors_to_one_file=True, location=_beside(path).name, size_threshold=SMALLEST_OUTSIDE
        )
    onnx.save(model, path)


def size_bytes(path: Path) -> int:
    """Bytes of a model file with the weights beside it."""
    return sum(part.stat().st_size for part in (path, _beside(path)) if part.exists())


def remove(path: Path) -> None:
    """Remove a model file with the weights beside it."""
    for part in (path, _beside(path)):
        part.unlink(missing_ok=True)


def load_graph(path: Path) -> onnx.ModelProto:
    """The model without the weights that lie outside it."""
    return onnx.load(path, load_external_data=False)
