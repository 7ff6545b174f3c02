"""The champion: the published model that a run's winner competes with, and the pointer that names it.

champions/<model_name>.json  the pointer: what is champion, what it replaced, everything before
models/<digest>/             the published onnx_model artifacts, immutable
"""

import os
import re
import stat
import tempfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from components.interchange.artifact import digest, to_json
from components.interchange.blobs import Blobs, FolderManifest, check_folder, open_blobs
from components.interchange.errors import BadInput, what_is_wrong
from components.interchange.report import Row

VERSION = 1
FOLDER = "champions/"


class EarlierRecord(BaseModel):
    """One champion as it was recorded when it came into service. Digests are of artifacts; `when` is UTC, ISO 8601.

    `rolled_back` is the digest of the model that a rollback to this one took out of service; None after a promotion.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    classifier_digest: str
    dataset_digest: str
    replaced: str | None
    run_id: str | None
    when: str
    latency: list[Row] = []
    provider: str | None = None
    num_threads: int | None = None
    processor: str | None = None
    noisy: bool = False
    top1: list[Row] = []
    rolled_back: str | None = None


class ChampionRecord(EarlierRecord):
    """champions/<model_name>.json. `history` holds every champion before this one, newest last."""

    format: str = f"graft.champion/{VERSION}"
    history: list[EarlierRecord] = []

    def successor(self, record: EarlierRecord) -> "ChampionRecord":
        """The record of the champion that replaces this one: nothing of the history is lost."""
        this = EarlierRecord.model_validate(self.model_dump())
        return ChampionRecord(**record.model_dump(), history=[*self.history, this])

    def rolled_back_models(self) -> dict[str, str]:
        """Models that were rolled back and not promoted again since: digest -> when."""
        found: dict[str, str] = {}
        for record in [*self.history, self]:
            if record.rolled_back is None:
                found.pop(record.digest, None)
            else:
                found[record.rolled_back] = record.when
        return found

    def before(self) -> EarlierRecord | None:
        """What a rollback returns to: the newest other model of the history that was not rolled back itself."""
        out = {self.digest, *self.rolled_back_models()}
        return next((earlier for earlier in reversed(self.history) if earlier.digest not in out), None)


@dataclass(frozen=True)
class Champion:
    """A published model: the current champion or an earlier one."""

    blobs: Blobs
    record: EarlierRecord

    @property
    def digest(self) -> str:
        return self.record.digest

    @property
    def classifier_digest(self) -> str:
        return self.record.classifier_digest

    def fetch(self, cache: Path | None = None) -> Path:
        """The folder with the onnx_model artifact, every file checked: in place on a disk, else in the cache.

        BadInput names the files that are missing or damaged.
        """
        prefix = model_prefix(self.digest)
        folder = self.blobs.folder_in_place(prefix)
        if folder is None:
            folder = (cache or _own_temporary_folder()) / prefix
            self.blobs.fetch_folder(prefix, folder)
        else:
            check_folder(folder, self._manifest())
        if digest(folder) != self.digest:
            raise BadInput(f"{self.blobs.uri}/{prefix} has digest {digest(folder)}. Remove it and publish it again.")
        return folder

    def fetch_part(self, part: str, into: Path) -> None:
        """Fetch one folder of the artifact, every file checked, to `into`/`part`; BadInput as `fetch`."""
        prefix, manifest = model_prefix(self.digest), self._manifest()
        files = {name: file for name, file in manifest.files.items() if name.startswith(f"{part}/")}
        for name in files:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            self.blobs.get_file(f"{prefix}/{name}", into / name)
        check_folder(into, manifest.model_copy(update={"files": files}), f"{self.blobs.uri}/{prefix}")

    def _manifest(self) -> FolderManifest:
        prefix = model_prefix(self.digest)
        manifest = self.blobs.folder_manifest(prefix)
        if manifest is None:
            raise BadInput(f"{self.blobs.uri} has no {prefix}, which is champion. Was the store copied whole?")
        return manifest


def _own_temporary_folder() -> Path:
    """A folder for temporary files of this user alone; BadInput where somebody else made one of its name."""
    folder = Path(tempfile.gettempdir()) / f"graft-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise BadInput(f"{folder} is no folder of yours, so others could alter models in it. Remove it, or set TMPDIR.")
    folder.chmod(0o700)  # An older Graft left it to the umask.
    return folder


def model_prefix(model_digest: str) -> str:
    """Where a published model lies in the store."""
    return f"models/{model_digest}"


def pointer_key(model_name: str) -> str:
    """Where the pointer of a model name lies in the store; BadInput on a name that is no file name."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", model_name):
        raise BadInput(f"--model-name {model_name!r}: expected letters, digits, '.', '_' and '-' only.")
    return f"{FOLDER}{model_name}.json"


def model_names(blobs: Blobs) -> list[str]:
    """The names that a model was ever promoted under, sorted."""
    return [key.removeprefix(FOLDER).removesuffix(".json") for key in blobs.list(FOLDER)]


def read_pointer(blobs: Blobs, model_name: str) -> tuple[ChampionRecord, str] | None:
    """The pointer and the tag that a swap expects of it; None where nothing was ever promoted under this name."""
    key = pointer_key(model_name)
    found = blobs.get_with_tag(key)
    if found is None:
        return None
    try:
        record = ChampionRecord.model_validate_json(found[0])
        kind, _, version = record.format.partition("/")
        if not version.isdecimal():
            raise ValueError(f"its format is {record.format!r}")
    except (ValidationError, ValueError) as error:
        raise BadInput(
            f"{blobs.uri}/{key} is no champion record of Graft: {what_is_wrong(error)}. Put a copy of it back; without "
            "it, the next model is promoted without a contest."
        ) from None
    if kind != "graft.champion" or int(version) > VERSION:
        raise BadInput(
            f"{blobs.uri}/{key} has format {record.format}; this Graft reads graft.champion/{VERSION}. Upgrade Graft."
        )
    return record, found[1]


def swap_pointer(blobs: Blobs, model_name: str, record: ChampionRecord, expected_tag: str | None) -> bool:
    """Make `record` the champion if the pointer still has that tag (None: if there is no pointer)."""
    data = to_json(record.model_dump(mode="json")).encode()
    return blobs.compare_and_swap(pointer_key(model_name), data, expected_tag)


def current(store: str, model_name: str) -> Champion | None:
    """The champion of a model name, or None."""
    blobs = open_blobs(store)
    found = read_pointer(blobs, model_name)
    return None if found is None else Champion(blobs, found[0])


def opponent_record(record: ChampionRecord, contenders: Collection[str]) -> EarlierRecord | None:
    """The newest of this champion and those before it that was made from none of the contenders, nor rolled back."""
    rolled_back = record.rolled_back_models()
    newest_first = [one for one in [record, *reversed(record.history)] if one.digest not in rolled_back]
    return next((earlier for earlier in newest_first if earlier.classifier_digest not in contenders), None)


def opponent(store: str, model_name: str, contenders: Collection[str]) -> Champion | None:
    """The champion that a run competes with, or None.

    `contenders` are the digests of the run's classifier artifacts. A champion that was made from one of them is not
    compared with itself, but the one that it replaced is, if that was not made from them too, and so on.
    """
    blobs = open_blobs(store)
    found = read_pointer(blobs, model_name)
    record = opponent_record(found[0], contenders) if found else None
    return None if record is None else Champion(blobs, record)
