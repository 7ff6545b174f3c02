"""What a share of ingest reads, writes and can be told."""

import re
from pathlib import Path
from typing import Self

from pydantic import model_validator

from components.ingest.spec import Reading, Storing
from components.interchange.step import param, writes


class IngestShare(Storing, Reading):
    """Read and decode one share of a source's files, chosen by the hash of their paths, for ingest_merge to join.

    It is called as `python -m components.ingest --shard K/N`. Only `--encoding jpeg` makes it smaller: what
    `auto` comes to is known when all shares are there, so that pixels go to the merge raw.
    """

    share: Path = writes("share", "Decoded, resized images of the share, and what is wrong with the others")
    report: Path = writes("report", "How many files the share has, and how many of them are broken")

    shard: str = param("K/N: the K-th of N shares, from 1/N to N/N")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if not re.fullmatch(r"[1-9]\d{0,5}/[1-9]\d{0,5}", self.shard) or self.number > self.of:
            raise ValueError(f"--shard {self.shard}: expected K/N with whole numbers and K from 1 to N, like 2/4")
        return self

    @property
    def number(self) -> int:
        """K."""
        return int(self.shard.split("/")[0])

    @property
    def of(self) -> int:
        """N."""
        return int(self.shard.split("/")[1])

    @property
    def part(self) -> str:
        """Which of the tasks of this step it is."""
        return str(self.number)
