"""Which column of a Parquet table holds the images themselves: a struct of bytes and path, or bytes alone."""

from typing import NamedTuple

import pyarrow as pa

from components.ingest.hugging_face import image_features
from components.ingest.manifests import Columns
from components.interchange.errors import listed


class ImageColumn(NamedTuple):
    """A column, and the names of its leaves in Parquet; one of bytes alone has no paths."""

    name: str
    bytes_leaf: str
    path_leaf: str | None


def image_column(schema: pa.Schema, columns: Columns) -> ImageColumn | None:
    """The column of images: the one that is asked for, or called so by default; else an Image by the Hugging Face
    metadata, else a struct with bytes. None where the table has none: a manifest of paths, or no table of images.

    ValueError where several might be meant.
    """
    if schema.names.count(columns.image) > 1:
        raise ValueError(f"it has several columns named {columns.image!r}")
    if columns.image in schema.names:
        return _holding_images(schema, columns.image)
    if columns.image in columns.required:
        return None
    said = [name for name in image_features(schema) if _holding_images(schema, name)]
    found = said or [field.name for field in schema if pa.types.is_struct(field.type) and _bytes_in(field.type)]
    if len(found) > 1:
        raise ValueError(f"it has {len(found)} columns of images ({listed(found)}): name one with --image-column")
    return _holding_images(schema, found[0]) if found else None


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a type is bytes of any length."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _holding_images(schema: pa.Schema, name: str) -> ImageColumn | None:
    if schema.names.count(name) != 1:
        return None  # Of several of one name, or of none.
    kind = schema.field(name).type
    if is_bytes(kind):
        return ImageColumn(name, name, None)
    if not pa.types.is_struct(kind) or not _bytes_in(kind):
        return None
    has_path = kind.get_field_index("path") >= 0
    return ImageColumn(name, f"{name}.bytes", f"{name}.path" if has_path else None)


def _bytes_in(kind: pa.StructType) -> bool:
    place = kind.get_field_index("bytes")
    return place >= 0 and is_bytes(kind.field(place).type)
