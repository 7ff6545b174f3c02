"""Faults between a run and its bucket: it gets done after retries, or ends with one readable error; never half."""

import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from components.interchange.artifact import digest
from components.interchange.blobs import Blobs
from components.interchange.blobs_s3 import S3Place
from components.interchange.errors import BadInput
from pipelines.store import DamagedArtifact, Store, open_store
from tests.faulty_s3 import PASSING, FaultyS3, at_random
from tests.s3_server import S3Server


def artifact(folder: Path, number: int) -> Path:
    """Eight small files and one that is sent in parts."""
    folder.mkdir(parents=True)
    for name in range(8):
        (folder / f"{name}.bin").write_bytes(os.urandom(2_000) + bytes([number]))
    (folder / "large.bin").write_bytes(os.urandom(17 << 20) if number % 8 == 0 else b"small")
    return folder


def behind(store: Store, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    """The store without the proxy."""
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        patch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        patch.setattr("components.interchange.s3_requests.READ_S", 60)
        place = store.blobs.place
        assert isinstance(place, S3Place)
        blobs = Blobs(store.uri, S3Place(place.bucket, place.prefix.strip("/")))
        blobs.list()
    return blobs


def halves(blobs: Blobs) -> list[str]:
    """What is wrong with the artifacts that can be seen: those with a manifest."""
    wrong = []
    for key in blobs.list("artifacts/"):
        if key.endswith(".files.json"):
            prefix = key.removesuffix(".files.json")
            manifest = blobs.folder_manifest(prefix)
            if manifest is not None:
                wrong += [f"{prefix}: {fault}" for fault in blobs.folder_faults(prefix, manifest, every_byte=True)]
    return wrong


class Watch(threading.Thread):
    """A reader that looks at everything all the time."""

    def __init__(self, blobs: Blobs) -> None:
        super().__init__()
        self.blobs, self.wrong, self.looks, self.done = blobs, list[str](), 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            self.wrong += halves(self.blobs)
            self.looks += 1


def rounds(
    store: Store,
    blobs: Blobs,
    proxy: FaultyS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    enough: int,
) -> tuple[int, int]:
    """Publish, fetch elsewhere and swap a pointer, round by round, until there were enough faults.

    How many rounds it took, and how many of them ended with a readable error.
    """
    number = refused = 0
    while sum(proxy.injected.values()) < enough:
        number += 1
        monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / f"cache {number}"))
        source = artifact(store.root / "tmp" / f"made {number}", number)
        name = digest(source)
        try:
            assert store.publish(source) == name
            elsewhere = open_store(store.uri)
            assert elsewhere.damage(name) == []
            try:
                assert digest(elsewhere.artifact(name)) == name
            except DamagedArtifact:  # On its way up: refused, set aside, and so made again.
                assert blobs.folder_manifest(f"artifacts/{name}") is None
                refused += 1
            tag = (store.blobs.get_with_tag("pointer") or (b"", None))[1]
            assert store.blobs.compare_and_swap("pointer", name.encode(), tag)
            assert blobs.get("pointer") == name.encode()
        except BadInput as error:
            assert str(error).startswith("s3://") and len(str(error).splitlines()) == 1
            refused += 1
    return number, refused


def test_a_handful_of_faults(
    store: Store, proxy: FaultyS3, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = behind(store, s3_server, monkeypatch)
    proxy.choose = at_random(0.2, seed=0, faults=tuple(set(PASSING) - {"time-out"}))
    number, refused = rounds(store, blobs, proxy, tmp_path, monkeypatch, enough=8)
    assert halves(blobs) == []
    assert refused < number


@pytest.mark.slow
def test_hundreds_of_faults(
    store: Store, proxy: FaultyS3, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = behind(store, s3_server, monkeypatch)
    watch = Watch(blobs)
    watch.start()
    proxy.choose = at_random(0.2, seed=1)
    try:
        number, refused = rounds(store, blobs, proxy, tmp_path, monkeypatch, enough=400)
    finally:
        watch.done.set()
        watch.join()
    print(f"{dict(proxy.injected)}; {number} rounds, {refused} refused; looked at everything {watch.looks} times")
    assert watch.wrong == halves(blobs) == []
    assert proxy.injected.keys() == set(PASSING) and min(proxy.injected.values()) >= 5
    assert refused < number / 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("expired", "does not accept the credentials (ExpiredToken)"),
        ("no bucket", "there is no such bucket"),
        ("no permission", "no permission for s3:PutObject (AccessDenied)"),
        ("slow down", "answered 503 SlowDown"),
        ("internal error", "answered 500 InternalError"),
        ("reset", "no answer from"),
    ],
)
def test_what_lasts_is_one_readable_error_and_nothing_is_to_be_seen(
    store: Store,
    proxy: FaultyS3,
    s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    words: str,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    blobs = behind(store, s3_server, monkeypatch)
    seen: Counter[str] = Counter()

    def after_some_files(method: str, path: str) -> str | None:
        seen[method] += 1
        return fault if method == "PUT" and seen[method] > 4 else None

    proxy.choose = after_some_files  # type: ignore[assignment]
    source = artifact(store.root / "tmp" / "made", 1)
    name = digest(source)

    with pytest.raises(BadInput) as refusal:
        store.publish(source)

    assert words in str(refusal.value) and len(str(refusal.value).splitlines()) == 1
    assert halves(blobs) == []
    assert blobs.folder_manifest(f"artifacts/{name}") is None and blobs.list("artifacts/")
    proxy.choose = lambda method, path: None
    assert open_store(store.uri).damage(name) == [f"artifact {name[:12]} is not in the store"]
