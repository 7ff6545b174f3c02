"""S3 stores that refuse, and toy servers for what a good server does not do: ignore a condition, lose an answer."""

import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.interchange.blobs import open_blobs
from components.interchange.errors import BadInput
from components.interchange.s3_requests import IN_FLIGHT, TOTAL_TRIES
from tests.s3_server import S3Server, aws_settings

Object = tuple[bytes, str, str]  # bytes, ETag, swap mark


class ToyS3(ThreadingHTTPServer):
    """Objects in memory. `honoured`: conditions it obeys; `lost`: keys whose next write is done but not answered."""

    daemon_threads = True

    def __init__(self, honoured: set[str], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), ToyHandler)
        self.objects: dict[str, Object] = {}
        self.honoured, self.lost, self.writes = honoured, set[str](), list[str]()
        self.refusal = (412, "PreconditionFailed")


class ToyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ToyS3

    def do_GET(self) -> None:
        found = self.server.objects.get(self.path)
        if found is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self.answer(200, found[0], {"ETag": found[1], "x-amz-meta-graft-swap": found[2]})

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        found = self.server.objects.get(self.path)
        asked = {name: self.headers[name] for name in self.server.honoured if self.headers[name]}
        exists = "If-None-Match" in asked and found is not None
        if exists or ("If-Match" in asked and (found is None or found[1] != asked["If-Match"])):
            status, code = self.server.refusal
            self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())
            return
        self.server.writes.append(self.path)
        etag = f'"{len(self.server.writes):032d}"'
        self.server.objects[self.path] = (data, etag, self.headers["x-amz-meta-graft-swap"] or "")
        if self.path in self.server.lost:
            self.server.lost.remove(self.path)
            self.close_connection = True
            return
        self.answer(200, b"", {"ETag": etag})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def toy_s3(monkeypatch: pytest.MonkeyPatch, honoured: set[str], port: int = 0) -> Iterator[ToyS3]:
    with ToyS3(honoured, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        for name, value in aws_settings(f"http://127.0.0.1:{server.server_port}").items():
            monkeypatch.setenv(name, value)
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize(
    ("honoured", "named"),
    [(set(), "If-None-Match and If-Match"), ({"If-Match"}, "If-None-Match"), ({"If-None-Match"}, "If-Match")],
)
def test_a_store_that_ignores_conditions_is_refused_before_it_overwrites(
    monkeypatch: pytest.MonkeyPatch, honoured: set[str], named: str
) -> None:
    with toy_s3(monkeypatch, honoured) as server:
        blobs = open_blobs("s3://toy/store")
        blobs.put("p.json", b"champion")
        for _ in range(2):
            with pytest.raises(BadInput, match=rf"ignores the condition of a write \({named}\).*nothing was changed"):
                blobs.compare_and_swap("p.json", b"other", None)
        assert server.objects["/toy/store/p.json"][0] == b"champion"
        assert server.writes.count("/toy/store/p.json") == 1


def test_a_store_that_knows_no_conditions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with toy_s3(monkeypatch, {"If-None-Match", "If-Match"}) as server:
        server.refusal = (501, "NotImplemented")
        with pytest.raises(BadInput, match="has no conditional writes"):
            open_blobs("s3://toy/store").compare_and_swap("p.json", b"other", None)
        assert "/toy/store/p.json" not in server.objects


def test_a_swap_whose_answer_got_lost_was_won(monkeypatch: pytest.MonkeyPatch) -> None:
    with toy_s3(monkeypatch, {"If-None-Match", "If-Match"}) as server:
        blobs = open_blobs("s3://toy/store")
        server.lost.add("/toy/store/p.json")
        assert blobs.compare_and_swap("p.json", b"first", None), "the second try met the first one's write"
        assert not server.lost
        server.lost.add("/toy/store/p.json")
        assert blobs.compare_and_swap("p.json", b"second", blobs.get_with_tag("p.json")[1])  # type: ignore[index]
        assert blobs.get("p.json") == b"second"
        assert not blobs.compare_and_swap("p.json", b"second", None), "equal bytes of someone else are no win"


def test_a_bucket_that_is_not_there_is_named(s3_store: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    blobs = open_blobs("s3://no-such-bucket/store")
    for call in (
        lambda: blobs.get("key"),
        lambda: blobs.put("key", b"1"),
        lambda: blobs.put_file("key", tmp_path / "file"),
        lambda: blobs.list(),
        lambda: blobs.compare_and_swap("key", b"1", None),
    ):
        with pytest.raises(BadInput, match=r"s3://no-such-bucket/store/.*: there is no such bucket at http"):
            call()


@pytest.mark.parametrize("setting", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_named(s3_store: str, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv(setting, "wrong")
    blobs = open_blobs(s3_store)
    for call in (lambda: blobs.put("key", b"1"), lambda: blobs.get("key"), lambda: blobs.list()):
        with pytest.raises(BadInput, match=r"does not accept the credentials .* See AWS_ACCESS_KEY_ID"):
            call()


def test_missing_credentials_are_named(s3_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(BadInput, match="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_blobs(s3_store).get("key")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "Invalid endpoint: minio:9000"),
        ({"AWS_PROFILE": "nobodys"}, "The config profile (nobodys) could not be found"),
        ({"AWS_ACCESS_KEY_ID": "half"}, "Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_settings_that_no_client_can_be_made_of_are_named(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], found: str
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=rf"^s3://bucket: {re.escape(found)}\. Check the AWS settings: "):
        open_blobs("s3://bucket/store").get("key")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", r"no permission for s3:PutObject \(AccessDenied\)"),
        ("RequestTimeTooSkewed", r"has another time than this machine \(RequestTimeTooSkewed\). Set its clock"),
    ],
)
def test_no_permission_and_a_clock_that_is_off_are_named(
    monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    with toy_s3(monkeypatch, {"If-None-Match", "If-Match"}) as server:
        server.refusal = (403, code)
        with pytest.raises(BadInput, match=words):
            open_blobs("s3://toy/store").compare_and_swap("p.json", b"other", None)


def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with toy_s3(monkeypatch, set()) as server:
        endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(BadInput, match=rf"no answer from {endpoint} .*Is AWS_ENDPOINT_URL right\?"):
        open_blobs("s3://toy/store").get("key")


def test_stores_in_one_bucket_do_not_see_each_other(s3_server: S3Server, s3_store: str) -> None:
    one, other, root = open_blobs(s3_store), open_blobs(s3_server.new_store()), open_blobs(f"s3://{s3_server.bucket}")
    one.put("key", b"1")
    assert other.get("key") is None and other.list() == []
    assert root.get(f"{s3_store.rpartition('/')[2]}/key") == b"1"


def test_requests_in_flight_outlast_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with toy_s3(monkeypatch, set()) as server:
        port = server.server_port
    monkeypatch.delenv("AWS_MAX_ATTEMPTS")
    blobs = open_blobs("s3://toy/store")
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        answers = pool.map(blobs.get, [f"key{number}" for number in range(3 * IN_FLIGHT)])
        time.sleep(0.5)
        with toy_s3(monkeypatch, set(), port):
            assert set(answers) == {None}


def test_a_store_that_does_not_answer_is_asked_again_for_some_30_seconds() -> None:
    """botocore's own pace, with waits of half their bound: a newer one may hurry."""
    from botocore.retryhandler import delay_exponential

    waits_s = [delay_exponential(0.5, 2, tried) for tried in range(1, TOTAL_TRIES)]
    assert 28 < sum(waits_s) < 35
