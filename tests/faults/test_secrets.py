"""Secrets of the environment and of options: planted, and looked for in whatever a run leaves behind."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.interchange.blobs import open_blobs
from pipelines.cli import app
from tests.e2e.conftest import Words, graft
from tests.s3_server import ACCESS_KEY, SECRET_KEY

TOKEN = "planted-token-5e1f0c"


def leaks(where: str, data: bytes, secrets: list[str]) -> list[str]:
    return [f"{secret} in {where}" for secret in secrets if secret.encode() in data]


def test_no_secret_is_left_behind(
    s3_store: str,
    tiny_words: Words,
    tiny_source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run on S3, with a token in the address to notify, that fails to notify; and the pipeline's YAML."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pipelines.notify.WAITS_S", ())
    hook = f"http://127.0.0.1:9/{TOKEN}"
    secrets = [SECRET_KEY, TOKEN, f"{ACCESS_KEY}:"]
    more = ("--strategy", "feature_extraction", "--notify", hook)
    ended = CliRunner().invoke(app, tiny_words(tiny_source, s3_store, *more))
    assert ended.exit_code == 0, ended.stderr
    assert "--notify: the address cannot be reached" in caplog.text

    compiled = graft(
        "compile", "--output", tmp_path / "pipeline.yaml", "--image-prefix", "r/graft-", "--image-tag", "1",
        "--s3-secret", "store-credentials", "--recipe", "demo",
    )  # fmt: skip
    assert compiled.code == 0, compiled.err
    said = {"stdout": ended.stdout, "stderr": ended.stderr + caplog.text, "compile": compiled.out + compiled.err}
    found = [leak for where, text in said.items() for leak in leaks(where, text.encode(), secrets)]
    blobs = open_blobs(s3_store)
    keys = blobs.list()
    for key in keys:
        found += leaks(key, blobs.get(key) or b"", secrets)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in files:
        found += leaks(str(path), path.read_bytes(), secrets)
    assert found == []
    assert len(keys) > 20 and len(files) > 20
