"""Secrets of the environment and of options: planted, and looked for in whatever a run leaves behind."""

from pathlib import Path

import pytest

from components.interchange.blobs import open_blobs
from tests.e2e.conftest import Run, graft
from tests.s3_server import ACCESS_KEY, SECRET_KEY

TOKEN = "planted-token-5e1f0c"


def leaks(where: str, data: bytes, secrets: list[str]) -> list[str]:
    return [f"{secret} in {where}" for secret in secrets if secret.encode() in data]


def test_no_secret_is_left_behind(
    s3_store: str, tiny_run: Run, tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on S3, with a token in the address to notify, that fails to notify; and the pipeline's YAML."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pipelines.notify.WAITS_S", ())
    hook = f"http://127.0.0.1:9/{TOKEN}"
    secrets = [SECRET_KEY, TOKEN, f"{ACCESS_KEY}:"]
    ended = tiny_run(tiny_source, s3_store, "--strategy", "feature_extraction", "--notify", hook)
    assert ended.code == 0, ended.err
    assert "--notify: the address cannot be reached" in ended.err

    compiled = graft(
        "compile", "--output", tmp_path / "pipeline.yaml", "--image-prefix", "r/graft-", "--image-tag", "1",
        "--s3-secret", "store-credentials", "--recipe", "demo",
    )  # fmt: skip
    assert compiled.code == 0, compiled.err
    said = {"stdout": ended.out, "stderr": ended.err, "compile": compiled.out + compiled.err}
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
