"""A store in a bucket behind a proxy that injects faults, and the same store without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.interchange import s3_requests
from pipelines.store import Store, open_store
from tests.e2e.conftest import tiny_run, tiny_words  # noqa: F401
from tests.faulty_s3 import FaultyS3, faulty_s3
from tests.s3_server import S3Server


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """The proxy, with a client's settings for it: eight tries, and half a second to wait for an answer."""
    with faulty_s3(s3_server.endpoint) as proxy:
        for name, value in s3_server.settings().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "8")
        monkeypatch.setattr(s3_requests, "READ_S", 0.5)
        proxy.silence_s = 0.8
        yield proxy


@pytest.fixture
def store(proxy: FaultyS3, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return open_store(s3_server.new_store())
