"""What the benchmarks of upload and download share: SeaweedFS, a dataset-like artifact, and the AWS CLI as the peer."""

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from components.interchange.artifact import content_files
from components.interchange.blobs import manifest_of, open_blobs
from pipelines.store import Store, open_store
from tests.s3_server import seaweedfs

SIZE_MIB, LONG_MIB = 192, 1024  # Eight transfers of the first take a minute or two.
MOST_SHARDS, ORIGINALS = 384, 64  # As ingest cuts three splits.
AWS = Path(os.environ.get("GRAFT_AWS_CLI", ".venv-aws/bin/aws"))


class Bench(NamedTuple):
    """A place to transfer to and from, and what is transferred: `artifact`, of `mib` in all."""

    folder: Path
    store: str
    artifact: Path
    mib: float


@contextmanager
def bench(size_mib: int) -> Iterator[Bench]:
    """A server with an empty store, and an artifact of many shards, as ingest makes them, and small originals."""
    if not AWS.exists():
        raise SystemExit(f"the AWS CLI is not at {AWS}: run `make .venv-aws/installed`, or set GRAFT_AWS_CLI")
    with tempfile.TemporaryDirectory() as name, seaweedfs(Path(name)) as server:
        folder = Path(name)
        os.environ.update(server.settings())
        os.environ["GRAFT_CACHE"] = str(folder / "cache")
        artifact = folder / "artifact"
        (artifact / "originals").mkdir(parents=True)
        shards = min(MOST_SHARDS, size_mib)
        for number in range(shards):
            (artifact / f"train-{number}.arrow").write_bytes(os.urandom((size_mib << 20) // shards))
        for number in range(ORIGINALS):
            (artifact / "originals" / f"{number}.jpg").write_bytes(os.urandom(40_000))
        mib = sum(path.stat().st_size for path in artifact.rglob("*") if path.is_file()) / 2**20
        yield Bench(folder, server.new_store(), artifact, mib)


def rate(mib: float, work: Callable[[], object]) -> float:
    """MiB a second."""
    started = time.perf_counter()
    work()
    return mib / (time.perf_counter() - started)


def uploaded(place: Bench) -> str:
    """Put the artifact as the store does when a step has made it: sha256 of all, files, manifest last. Its URI."""
    store = open_store(f"{place.store}/{uuid.uuid4().hex}")
    manifest = manifest_of(content_files(place.artifact))
    store.blobs.put_folder(f"artifacts/{manifest.digest}", place.artifact, manifest)
    return store.where(f"artifacts/{manifest.digest}")


def fetched(store: Store, digest: str) -> None:
    """Fetch an artifact as the store does for a step, every sha256 checked, into a cache that is new."""
    shutil.rmtree(store.root, ignore_errors=True)
    store.artifact(digest)


def copied(source: str | Path, target: str | Path) -> None:
    """The AWS CLI's own copy of a folder."""
    subprocess.run([str(AWS), "s3", "cp", "--recursive", "--quiet", str(source), str(target)], check=True)


def version() -> str:
    """What the peer calls itself."""
    told = subprocess.run([str(AWS), "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split()[0]


def opened(uri: str) -> Store:
    """The store of an artifact's URI."""
    return open_store(uri.rpartition("/artifacts/")[0])


def removed(uri: str) -> None:
    """Make room on the server again."""
    where, _, key = uri.rpartition("/artifacts/")
    open_blobs(where).delete_folder(f"artifacts/{key}")
