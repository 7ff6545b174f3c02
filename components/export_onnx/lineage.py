"""lineage/: what a model was made of, for the drift and leak checks of the next run.

lineage/lineage.json  lineage/training_images.parquet (id = sha256 of the source bytes, label)
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.interchange.artifact import file_digest, to_json


def write_lineage(folder: Path, ids: Sequence[str], labels: Sequence[str], facts: dict[str, Any]) -> None:
    """Write the training images' ids and labels, and `facts`: digests, specs, statistics."""
    lineage = folder / "lineage"
    lineage.mkdir(parents=True)
    table = pa.table({"id": pa.array(ids, pa.string()), "label": pa.array(labels, pa.string())})
    pq.write_table(table, lineage / "training_images.parquet")
    (lineage / "lineage.json").write_text(to_json(facts), encoding="utf-8")


def code_digest(root: Path, packages: Sequence[str]) -> str:
    """sha256 over the paths and contents of the Python files of some packages below `root`."""
    files = [path for package in packages for path in sorted((root / package).rglob("*.py"))]
    lines = [f"{file_digest(path)}  {path.relative_to(root).as_posix()}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
