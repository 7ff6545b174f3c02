"""What ingest reads, writes and can be told."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from components.interchange.preprocessing import Interpolation
from components.interchange.step import Spec, param, reads, writes

WantedEncoding = Literal["raw", "jpeg", "auto"]
OnConflict = Literal["quarantine", "first"]
OnDrift = Literal["warn", "stop"]


class Reading(Spec):
    """Where the images are, and how each is decoded: what no other image has a say in."""

    source: str = param(
        "Folder (a subfolder a class, or a metadata file), manifest (.csv, .jsonl, .parquet), Parquet with the images "
        "inside (a file, or a folder of shards), or archive of folders and manifests "
        "(.zip, .tar, .tar.gz, .tgz); on disk or at s3://BUCKET/PREFIX",
        location=True,
        min_length=1,
    )
    stored_size_px: int = param("Short side of the stored images", default=256, unit="px", ge=8, le=4096)
    interpolation: Interpolation = param("Resize filter, antialiased", default="bicubic")
    image_column: str = param("Manifest column with the image's path, or with the image itself", default="image")
    label_column: str = param("Manifest column with the label", default="label")
    split_column: str = param(
        "Manifest column with train, val or test; used where the manifest has it", default="split"
    )
    group_column: str = param(
        "Manifest column whose equal values share one split; used where it exists", default="group"
    )


class Storing(Spec):
    """How pixels are stored."""

    encoding: WantedEncoding = param(
        "How pixels are stored; jpeg (quality 95) where there are too many for raw", default="auto"
    )


class Settling(Storing):
    """What becomes of the images that were read: which are left out, who stands where, and what is written."""

    previous: Path | None = reads(
        "dataset", "Earlier dataset of the same source: its split assignments hold", optional=True
    )
    dataset: Path = writes("dataset", "Decoded, resized images in three splits")
    report: Path = writes("report", "Counts, quarantine and statistics")
    drift: Path | None = writes(
        "verdict", "One word: go_on, or stop where --on-drift stop met drift since the champion", optional=True
    )

    raw_limit_gib: float = param(
        "With --encoding auto: pixels are stored raw up to so much, which a training's file cache should hold",
        default=4.0,
        unit="GiB",
        gt=0,
    )
    val_fraction: float = param("Share of the images for val", default=0.2, gt=0, lt=1)
    test_fraction: float = param("Share of the images for test", default=0.2, gt=0, lt=1)
    max_near_bits: int = param(
        "Images whose perceptual hashes differ in at most so many of 64 bits share one split; -1: none do",
        default=10,
        unit="bits",
        ge=-1,
        le=16,
    )
    on_conflict: OnConflict = param(
        "Of one picture under two labels: quarantine all files, or keep the first by path", default="quarantine"
    )
    test_manifest: str | None = param(
        "Table that names the test images (by id, image or path), and freezes the test set", default=None, location=True
    )
    on_drift: OnDrift = param(
        "Where classes or colours moved too far since the champion: only say so, or end the run before training",
        default="warn",
    )
    max_bad_fraction: float = param("Share of broken files above which the run is refused", default=0.02, ge=0, le=1)

    @model_validator(mode="after")
    def _something_left_for_train(self) -> Self:
        taken = self.val_fraction + self.test_fraction
        if taken >= 1:
            raise ValueError(
                f"--val-fraction {self.val_fraction:g} and --test-fraction {self.test_fraction:g} take {taken:g} "
                "of the images: expected less than 1, so that some are left for train"
            )
        return self


class Ingest(Settling, Reading):
    """Ingest and normalise: decode every image once, quarantine what is broken, split by the hash of the content.

    With --shard K/N it is `ingest_share`: it reads one share of the files, and `ingest_merge` joins all N.
    """

    reuse: str | None = param(
        "Folder of an earlier dataset: files that it was made from and that have not changed are not decoded again; "
        "--previous where not given. The result is the same without",
        default=None,
        location=True,
    )
