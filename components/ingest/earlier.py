"""Images that were split before: in the previous dataset, and in the one that the champion was made from."""

import logging
import posixpath
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from components.ingest.manifests import read_cells
from components.ingest.pictures import Picture
from components.ingest.reading import Found
from components.ingest.source_names import is_manifest
from components.ingest.spec import Reading
from components.ingest.split_names import split_called
from components.ingest.splits import Earlier
from components.interchange.champion import current
from components.interchange.dataset import open_dataset
from components.interchange.errors import BadInput, listed
from components.interchange.lineage import FOLDER, Lineage, read_lineage
from components.interchange.s3_objects import SCHEME, ObjectChanged, bucket_and_key
from components.interchange.step import RunContext

log = logging.getLogger("graft")
SHA256 = re.compile("[0-9a-f]{64}")


class Before(NamedTuple):
    """What was there before this run: the champion's lineage, if any, and every image that has a side already."""

    lineage: Lineage | None
    images: list[Earlier]


def known_before(previous: Path | None, context: RunContext) -> Before:
    """What the previous dataset and the champion know. BadInput where the dataset cannot be read."""
    lineage = _champion_lineage(context)
    return Before(lineage, _earlier_images(previous, lineage))


def _champion_lineage(context: RunContext) -> Lineage | None:
    """What the champion was made of; None without a store or a champion, or where an older Graft made it."""
    champion = current(context.store, context.model_name) if context.store else None
    if champion is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        champion.fetch_part(FOLDER, Path(folder))
        try:
            lineage = read_lineage(Path(folder))
        except BadInput as error:
            raise BadInput(f"the champion {context.model_name} ({champion.digest[:12]}): {error}") from None
    if lineage is None:
        log.warning("the champion was made by an older Graft: on which side its images stood is not known")
    return lineage


def _earlier_images(previous: Path | None, lineage: Lineage | None) -> list[Earlier]:
    """Every image that has a side already; where both know it, the previous dataset's word counts."""
    found: dict[str, Earlier] = {}
    if lineage is not None:
        found |= {image.id: image for image in lineage.images}
    if previous is not None:
        found |= {sample.id: sample for sample in open_dataset(previous).samples()}
    return list(found.values())


def frozen_test(manifest: str, reading: Reading, found: Found) -> frozenset[str]:
    """Ids of the images that a test manifest names, by `id` or by path. Rows of other splits are passed over.

    A dataset's samples.parquet is such a manifest. A column `id` with anything but sha256s is the user's own, and names
    nothing. Paths are read as those of the source's own manifest would be, wherever this one lies. BadInput where it
    cannot be read or names images that are not there.
    """
    image_column, split_column = reading.image_column, reading.split_column
    cells = read_cells(manifest, _bytes_of(manifest), ("id", image_column, "path", split_column))
    if not all(SHA256.fullmatch(name or "") for name in cells.get("id", ())):
        del cells["id"]
    by_path = {picture.source.path: picture.id for picture in found.pictures}
    known: Mapping[str, str] = {picture.id: picture.id for picture in found.pictures} if "id" in cells else by_path
    column = next((name for name in ("id", image_column, "path") if name in cells), None)
    if column is None:
        raise BadInput(
            f"--test-manifest {manifest} has no column id (of sha256s), {image_column} or path that names its images."
        )
    splits = cells.get(split_column, [None] * len(cells[column]))
    paths = next(cells[name] for name in ("path", image_column, "id") if name in cells)  # Ids say nothing to people.
    named = {
        (name if column == "id" else _as_listed(name, reading.source)): path or name
        for name, path, split in zip(cells[column], paths, splits, strict=True)
        if name and (split is None or split_called(split) == "test")
    }
    became = {**dict.fromkeys(by_path, "other bytes"), **{entry.path: entry.reason for entry in found.broken}}
    missing = [
        f"{path} ({became[path]})" if path in became else path for name, path in named.items() if name not in known
    ]
    if missing or not named:
        raise BadInput(
            f"{len(missing)} of the {len(named)} images of --test-manifest {manifest} cannot be used or are not in the "
            f"source: {listed(missing)}. Expected a whole test set: bring them back, or take them out of the manifest."
        )
    return frozenset(known[name] for name in named)


def _as_listed(path: str, source: str) -> str:
    """What the source's listing calls an image that a manifest in its folder calls so: `./1.jpg`, `/data/1.jpg`.

    An object below a prefix may be named by its URI.
    """
    place = source.removeprefix("file://")
    if "://" in path:
        return path if is_manifest(place) else path.removeprefix(f"{place.rstrip('/')}/")
    folder = posixpath.dirname(place) if is_manifest(place) else place
    return posixpath.relpath(posixpath.join(folder, path), folder or ".")


def check_labels(manifest: str, frozen: Collection[str], conflicts: Iterable[Sequence[Picture]]) -> None:
    """BadInput where images of a test manifest have several labels, so that they would be missing in the test set."""
    torn = [alike for alike in conflicts if any(one.id in frozen for one in alike)]
    if torn:
        found = listed(" and ".join(f"{one.source.path} ({one.source.label})" for one in alike) for alike in torn)
        raise BadInput(
            f"{len(torn)} of the images of --test-manifest {manifest} have several labels in the source: {found}. "
            "Expected a whole test set: mend the labels, or keep the first of each by --on-conflict first."
        )


def _bytes_of(manifest: str) -> bytes:
    """A test manifest, on disk or on S3; BadInput where it is not there or cannot be read."""
    if not manifest.startswith(SCHEME):
        try:
            return Path(manifest.removeprefix("file://")).read_bytes()
        except OSError as error:
            raise BadInput(f"--test-manifest {manifest} cannot be read ({error.strerror}).") from None
    bucket, key = bucket_and_key(manifest)
    found = bucket.find(key)
    if found is None:
        raise BadInput(f"--test-manifest {manifest}: there is no such object. Is AWS_ENDPOINT_URL right?")
    try:
        return bucket.read(found)
    except ObjectChanged as error:
        raise BadInput(f"--test-manifest {manifest}: {error}. Start again when it is complete.") from None
