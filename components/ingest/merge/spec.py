"""What ingest_merge reads, writes and can be told."""

from pathlib import Path

from components.ingest.spec import Reading, Settling
from components.interchange.step import param, reads


class IngestMerge(Settling):
    """Join the shares of a source to the dataset that ingest would have made of it, to the byte.

    It is called as `python -m components.ingest.merge`.
    """

    shares: tuple[Path, ...] = reads("share", "All N shares of the source, in any order", many=True)

    source: str = param(f"The source of the shares. {Reading.model_fields['source'].description}", location=True)
